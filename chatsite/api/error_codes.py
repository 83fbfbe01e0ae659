"""The codes of the API's own refusals, in OpenAI's words where OpenAI has the case.

What ends a request on its way through queue and engine has a code of inference.contract.ErrorCode,
which programs are told as it is.
"""

from __future__ import annotations

from enum import StrEnum


class ApiCode(StrEnum):
    """Why a request was refused before it became one."""

    # Who asks
    INVALID_API_KEY = "invalid_api_key"
    EXPIRED_API_KEY = "expired_api_key"
    INSUFFICIENT_PERMISSIONS = "insufficient_permissions"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    HTTPS_REQUIRED = "https_required"

    # Where
    UNKNOWN_HOST = "unknown_host"
    UNKNOWN_URL = "unknown_url"
    METHOD_NOT_SUPPORTED = "method_not_supported"
    MODEL_NOT_FOUND = "model_not_found"

    # The body as a whole
    INVALID_JSON = "invalid_json"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    UNSUPPORTED_CONTENT_ENCODING = "unsupported_content_encoding"

    # A field of it
    MISSING_REQUIRED_PARAMETER = "missing_required_parameter"
    UNKNOWN_PARAMETER = "unknown_parameter"
    UNSUPPORTED_VALUE = "unsupported_value"
    INVALID_TYPE = "invalid_type"
    INVALID_VALUE = "invalid_value"
    INTEGER_BELOW_MIN = "integer_below_min_value"
    INTEGER_ABOVE_MAX = "integer_above_max_value"
    DECIMAL_BELOW_MIN = "decimal_below_min_value"
    DECIMAL_ABOVE_MAX = "decimal_above_max_value"
    EMPTY_STRING = "empty_string"
    STRING_BELOW_MIN = "string_below_min_length"
    STRING_ABOVE_MAX = "string_above_max_length"
    EMPTY_ARRAY = "empty_array"
    ARRAY_BELOW_MIN = "array_below_min_length"
    ARRAY_ABOVE_MAX = "array_above_max_length"
    EMPTY_PROMPT = "empty"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    INVALID_JSON_SCHEMA = "invalid_json_schema"

    # This site
    MODEL_UNREADABLE = "model_unreadable"
    SLOW_READER = "slow_reader"
    INTERNAL_ERROR = "internal_error"
