"""Errors as OpenAI's API words them: one body, a type, a code and the parameter at fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse

from chatsite.errors import ChatError
from inference import client
from inference.contract import ErrorCode, FinishReason

INVALID = "invalid_request_error"
RATE_LIMIT = "rate_limit_error"
SERVER = "server_error"
PERMISSION = "permission_error"


class ApiError(Exception):
    """An answer that is no answer. `param` names the field at fault, `code` is stable."""

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

    def body(self) -> dict[str, Any]:
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def response(self) -> HttpResponse:
        content = json.dumps(self.body(), ensure_ascii=False).encode("utf-8", "replace")
        return HttpResponse(
            content, content_type="application/json", status=self.status, headers=self.headers
        )


def no_such_url(method: str, path: str) -> ApiError:
    return ApiError(404, f"Invalid URL ({method} {path})", code="unknown_url")


def not_allowed(method: str, path: str, allowed: str) -> ApiError:
    return ApiError(
        405,
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP "
        f"method?)",
        code="method_not_supported",
        headers={"Allow": allowed},
    )


def https_only() -> ApiError:
    """Never a redirect: the key has come in the open already, and must not come so again."""
    message = (
        "This API is served over HTTPS only. The key of this request was sent unencrypted: "
        "revoke it if others may have seen it."
    )
    return ApiError(403, message, code="https_required")


def no_such_model(name: str) -> ApiError:
    return ApiError(
        404,
        f"The model '{name[:100]}' does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )


def unavailable(message: str, *, code: str, retry_after_s: int = 5) -> ApiError:
    """503: nothing is wrong with the request, and it may work later."""
    headers = {"Retry-After": str(retry_after_s)}
    return ApiError(503, message, kind=SERVER, code=code, headers=headers)


def internal() -> ApiError:
    message = "The server had an error while processing your request. Sorry about that!"
    return ApiError(500, message, kind=SERVER, code="internal_error")


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
    """What a client is told when its request ended without an answer.

    `form_param` is the parameter that asked for a form, to be named if that can't be kept.
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
