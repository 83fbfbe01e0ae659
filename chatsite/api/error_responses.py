"""Errors as OpenAI's API words them: one body, a type, a code and the parameter at fault."""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.http import HttpResponse

from chatsite.api.error_codes import ApiCode
from chatsite.api.schemas.replies import Error
from chatsite.errors import ChatError
from inference import client
from inference.contract import ErrorCode, FinishReason

INVALID = "invalid_request_error"
RATE_LIMIT = "rate_limit_error"
SERVER = "server_error"
PERMISSION = "permission_error"


class ApiError(Exception):
    """A refusal or failure, sent as OpenAI's error object. `param` names the field at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> Error:
        """The JSON of the reply: OpenAI's error object."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> HttpResponse:
        """The HTTP reply."""
        content = json.dumps(self.body(), ensure_ascii=False).encode("utf-8", "replace")
        return HttpResponse(
            content, content_type="application/json", status=self.status, headers=self.headers
        )


def no_such_url(method: str, path: str) -> ApiError:
    """404 for a URL that the API does not have."""
    return ApiError(404, f"Invalid URL ({method} {path})", code=ApiCode.UNKNOWN_URL)


def base_url_is_v1(method: str, path: str) -> ApiError:
    """404 for a URL beside the API: most often a base URL that lacks its end."""
    message = f"Invalid URL ({method} {path}). The API's base URL ends in /v1."
    return ApiError(404, message, code=ApiCode.UNKNOWN_URL)


def not_served(message: str) -> ApiError:
    """404 for a URL of OpenAI's that this API does not have."""
    return ApiError(404, message, code=ApiCode.UNKNOWN_URL)


def not_allowed(method: str, path: str, allowed: str) -> ApiError:
    """405, naming the methods that are allowed."""
    return ApiError(
        405,
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP "
        f"method?)",
        code=ApiCode.METHOD_NOT_SUPPORTED,
        headers={"Allow": allowed},
    )


def https_only() -> ApiError:
    """403, never a redirect: the key was sent unencrypted, and clients would keep sending it."""
    message = (
        "This API is served over HTTPS only. The key of this request was sent unencrypted: "
        "revoke it if others may have seen it."
    )
    return ApiError(403, message, code=ApiCode.HTTPS_REQUIRED)


def no_such_model(name: str) -> ApiError:
    """404, the same for a model that isn't there and for one that the key may not use."""
    return ApiError(
        404,
        f"The model '{name[:100]}' does not exist or you do not have access to it.",
        param="model",
        code=ApiCode.MODEL_NOT_FOUND,
    )


def unavailable(message: str, *, code: str, retry_after_s: int = 5) -> ApiError:
    """503 with Retry-After: the same request may succeed later."""
    headers = {"Retry-After": str(retry_after_s)}
    return ApiError(503, message, kind=SERVER, code=code, headers=headers)


def internal() -> ApiError:
    """500; what went wrong stands in the log."""
    message = "The server had an error while processing your request. Sorry about that!"
    return ApiError(500, message, kind=SERVER, code=ApiCode.INTERNAL_ERROR)


def of_chat_error(error: ChatError) -> ApiError:
    """The site's own refusals in OpenAI's form."""
    kind = INVALID
    if error.status == 429:
        kind = RATE_LIMIT
    elif error.status >= 500:
        return unavailable(error.text, code=error.code)
    return ApiError(error.status, error.text, kind=kind, param=error.field or None, code=error.code)


def of_client_error(error: client.ClientError) -> ApiError:
    """The refusal of a request that could not be submitted."""
    is_away = isinstance(error, client.RedisUnavailable)
    return of_result(error.code, error.code.sentence if is_away else str(error))


def of_result(
    code: ErrorCode | None,
    text: str,
    *,
    reason: FinishReason = FinishReason.FAILED,
    form_param: str | None = None,
) -> ApiError:
    """The error for a request that ended without an answer.

    `form_param` is the parameter that asked for structured output; BAD_SCHEMA names it.
    """
    text = text or "The answer could not be made."
    if code is None:
        return ApiError(500, text, kind=SERVER, code=reason)
    if code.is_retryable:
        return unavailable(text, code=code)
    if code.status < 500:
        return ApiError(
            400, text, param=form_param if code is ErrorCode.BAD_SCHEMA else None, code=code
        )
    return ApiError(code.status, text, kind=SERVER, code=code)
