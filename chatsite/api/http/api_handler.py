"""Django for programs: /v1/ without the middleware of pages, and without a thread per stream.

Django's own ASGI entry keeps a thread for as long as a request that once ran blocking code, which
for a stream is all of its time. Here blocking work goes to the API's few threads
(chatsite/threads.py) and the rest is asynchronous. An API with keys needs no sessions, CSRF or
languages.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse

from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError, https_only, no_such_url
from chatsite.api.http.beside_v1 import in_json, is_of_a_program
from chatsite.api.http.endpoints import with_id
from chatsite.server.cors import naming_origin, preflight

PREFIX = "/v1/"
App = Callable[..., Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class ApiHandler(ASGIHandler):
    """Answers what begins with /v1/ and leaves everything else to `pages`."""

    def __init__(self, pages: App) -> None:
        super().__init__()
        self._pages = pages

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        self._middleware_chain = convert_exception_to_response(self._answer)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: App) -> None:
        if (headers := preflight(scope)) is not None:
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body"})
        elif (scope["path"] + "/").startswith(PREFIX):
            await self.handle(scope, receive, naming_origin(scope, send))
        elif is_of_a_program(scope):
            await self._pages(scope, receive, in_json(scope, send))
        else:
            await self._pages(scope, receive, send)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            request.get_host()
        except DisallowedHost:
            text = "This site doesn't answer under this host name (see ALLOWED_HOSTS)."
            return with_id(ApiError(400, text, code=ApiCode.UNKNOWN_HOST).response())
        if settings.BEHIND_TLS and not request.is_secure():
            return with_id(https_only().response())
        if request.path + "/" == PREFIX:
            return with_id(no_such_url(request.method or "", request.path).response())
        # What Django calls at the end of its middleware; it has no public name.
        response: HttpResponse = await self._get_response_async(request)  # type: ignore[attr-defined]
        if request.method == "HEAD" and not response.streaming:
            response["Content-Length"] = str(len(response.content))
            response.content = b""
        return response

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """The body, or as much of it as shows that it is too large; the endpoint refuses it then.

        Under Daphne server/request_limits.py refuses earlier, because Daphne reads the whole body
        first. These limits are for other servers; a body that comes too slowly ends the request.
        """
        in_memory = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        body = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115  # Django closes it
        left = settings.API_MAX_BODY_BYTES + 1
        try:
            async with asyncio.timeout(settings.MAX_BODY_S):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestAborted
                    left -= body.write(message.get("body", b"")[:left])
                    more = message.get("more_body", False)
        except (TimeoutError, RequestAborted) as error:
            body.close()
            raise RequestAborted from error
        body.seek(0)
        return body
