"""What every URL of the API does: method, key, body, errors and headers, in OpenAI's manner.

An Endpoint is both the view and what openapi.py describes, so that the description can't drift.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import msgspec
import pydantic_core
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import NoReverseMatch, reverse
from pydantic import ValidationError

from chatsite.api import error_responses as errors
from chatsite.api.access.api_keys import key_of
from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError
from chatsite.api.http.validation_errors import api_error_of
from chatsite.api.models import ApiKey
from chatsite.api.schemas.body import Body
from chatsite.catalog.models import LanguageModel
from chatsite.errors import ChatError, of_machine_error
from chatsite.threads import API_POOL, in_pool
from inference.contract import Stamp

AnyResponse = TypeVar("AnyResponse", bound=HttpResponseBase)

logger = logging.getLogger(__name__)

JSON_TYPES = ("application/json", "text/json")


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller's key, when the request arrived, and the variables of its path."""

    key: ApiKey
    received: Stamp
    path: Mapping[str, str]

    def model(self, slug: str) -> LanguageModel:
        """The enabled model of that slug that the key may use. Raises ApiError 404."""
        try:
            found = LanguageModel.objects.get(is_enabled=True, slug=slug)
        except LanguageModel.DoesNotExist:
            raise errors.no_such_model(slug) from None
        if not self.may_use(slug):
            raise errors.no_such_model(slug)
        return found

    def may_use(self, slug: str) -> bool:
        """Whether the key allows the model of that slug."""
        return not self.key.model_slugs or slug in self.key.model_slugs


class Pending(Protocol):
    """A reply that is awaited once the view's thread is done."""

    async def response(self) -> HttpResponseBase:
        """Wait for the reply. Raises ApiError."""

    def abandon(self) -> None:
        """The client has gone before `response` was called."""


Reply = Mapping[str, Any] | Pending


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One URL. `answer` runs in a thread and returns the reply, or one that is awaited after it."""

    path: str
    method: str
    summary: str
    answer: Callable[..., Reply]
    gives: Any
    takes: type[Body] | None = None
    streams: Any = None
    generates: bool = False

    @property
    def _methods(self) -> tuple[str, ...]:
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    async def view(self, request: HttpRequest, **path: str) -> HttpResponseBase:
        """The Django view of this URL; whatever goes wrong is answered as an error in JSON."""
        received = Stamp.now()
        try:
            if request.method not in self._methods:
                allowed = ", ".join(self._methods)
                raise errors.not_allowed(request.method or "", request.path, allowed)
            reply = await _unless_gone(in_pool(API_POOL, self._answer, request, received, path))
            if isinstance(reply, Mapping):
                content = msgspec.json.encode(reply)
                return with_id(HttpResponse(content, content_type="application/json"))
            return with_id(await reply.response())
        except ApiError as error:
            return with_id(error.response())
        except ChatError as error:
            return with_id(errors.of_chat_error(error).response())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if (refusal := of_machine_error(error)) is not None:
                logger.warning("%s %s: %s (%s)", self.method, self.path, refusal.code, error)
                return with_id(errors.of_chat_error(refusal).response())
            logger.exception("%s %s failed", self.method, self.path)
            return with_id(errors.internal().response())

    def _answer(self, request: HttpRequest, received: Stamp, path: Mapping[str, str]) -> Reply:
        key = key_of(request.headers.get("Authorization", ""))
        if self.generates and key.is_read_only:
            raise ApiError(
                403,
                "This API key is read only: it may not generate.",
                kind=errors.PERMISSION,
                code=ApiCode.INSUFFICIENT_PERMISSIONS,
            )
        caller = Caller(key, received, path)
        if self.takes is None:
            return self.answer(caller)
        data = json_body(request)
        try:
            body = self.takes.model_validate(data)
        except ValidationError as error:
            raise api_error_of(error, data) from None
        return self.answer(caller, body)


async def _unless_gone(work: Awaitable[Reply]) -> Reply:
    """Await the thread's result. A client that disconnects meanwhile leaves nothing running."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_abandon)
        raise


def _abandon(task: asyncio.Future[Reply]) -> None:
    if not task.cancelled() and task.exception() is None:
        reply = task.result()
        if not isinstance(reply, Mapping):
            reply.abandon()


def json_body(request: HttpRequest) -> Any:
    """The request's JSON. Raises ApiError 400, 413, 415; depth is bounded by the parser."""
    kind = request.content_type or ""
    if kind not in JSON_TYPES and not kind.endswith("+json"):
        text = (
            f"Unsupported content type: '{kind[:100]}'. This API only accepts 'application/json'."
        )
        raise ApiError(415, text, code=ApiCode.UNSUPPORTED_CONTENT_TYPE)
    if (encoding := request.headers.get("Content-Encoding", "identity")) != "identity":
        text = f"Unsupported content encoding: '{encoding[:40]}'. Send the body as it is."
        raise ApiError(415, text, code=ApiCode.UNSUPPORTED_CONTENT_ENCODING)
    try:
        raw = request.body
        if len(raw) > settings.API_MAX_BODY_BYTES:
            raise RequestDataTooBig
    except RequestDataTooBig:
        raise too_big() from None
    try:
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        text = f"We could not parse the JSON body of your request: {str(error)[:200]}."
        raise ApiError(400, text, code=ApiCode.INVALID_JSON) from None


def too_big() -> ApiError:
    """413, with the limit."""
    most = settings.API_MAX_BODY_BYTES
    return ApiError(
        413, f"The request's body is larger than {most:,} bytes.", code=ApiCode.BODY_TOO_LARGE
    )


def with_id(response: AnyResponse) -> AnyResponse:
    """Every reply has an id; that of a generation opens the page of its request."""
    if "x-request-id" not in response:
        response["x-request-id"] = uuid4().hex
    response["X-Content-Type-Options"] = "nosniff"
    response.setdefault("Cache-Control", "no-store")
    return response


def page_of(request_id: str) -> str:
    """The URL of the page that shows how a request went; empty where there is none."""
    try:
        return reverse("latency:request", args=[UUID(request_id)])
    except NoReverseMatch:
        return ""
