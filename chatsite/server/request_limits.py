"""Limits on what the web server holds for a client: request bodies, and replies not yet read.

Daphne reads a request's whole body, onto the disk when it is large, before it asks the application.
So a body that is too large or comes too slowly is refused here, while it arrives: with a JSON error
and a closed connection.

Daphne also takes all that the application writes, whether or not the client reads it. Here `send`
returns only when the client has read enough (flow control, as uvicorn has it), and a client that
reads nothing for MAX_UNREAD_S is disconnected.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from daphne import http_protocol
from daphne.server import Server
from django.conf import settings

from chatsite.server import cors
from chatsite.server.cors import Headers

REASONS = {413: "Content Too Large", 408: "Request Timeout"}
LINGER_S = 1.0  # what still arrives is dropped for this long, so that the client reads the answer


class LimitedRequest(http_protocol.WebRequest):
    """Daphne's request with a limit on its body's size and on the time that the body takes.

    While the reply is written it is registered as the transport's producer, so that the transport
    calls `pauseProducing` when it holds more than it wants to.
    """

    _size = 0
    _refused = False
    _body_timer: asyncio.TimerHandle | None = None
    _unread: asyncio.Future[None] | None = None  # done when the client has read; None: it has
    _unread_timer: asyncio.TimerHandle | None = None

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > settings.API_MAX_BODY_BYTES:
            self._refuse_size()
        elif length != 0:
            self._body_timer = _call_later(settings.MAX_BODY_S, self._refuse_time)

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        self._size += len(data)
        if self._size > settings.API_MAX_BODY_BYTES:
            self._refuse_size()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self._stop_timer()
        if not self._refused:
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Any) -> None:
        self._stop_timer()
        self.resumeProducing()
        super().connectionLost(reason)

    # --- what the client doesn't read ---

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Register as the producer before the first byte of the reply."""
        is_open = not self.finished and self.channel is not None
        if is_open and message.get("type") == "http.response.start":
            self.registerProducer(self, True)
        super().handle_reply(message)

    def finish(self) -> None:
        self.unregisterProducer()
        self.resumeProducing()
        super().finish()

    async def wait_until_read(self) -> None:
        """Wait until the client has read what was written, or is gone."""
        if self._unread is not None:
            await asyncio.shield(self._unread)

    def pauseProducing(self) -> None:
        if self._unread is None:
            self._unread = asyncio.get_running_loop().create_future()
            self._unread_timer = _call_later(settings.MAX_UNREAD_S, self._cut_off)

    def resumeProducing(self) -> None:
        if self._unread is None:
            return
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        self._unread.set_result(None)
        self._unread = None

    def stopProducing(self) -> None:
        self.resumeProducing()

    def _cut_off(self) -> None:
        """Disconnect. The application is told as for any client that goes away."""
        if self.channel is not None:
            self.channel.transport.abortConnection()

    # --- what comes too slowly or is too much ---

    def _stop_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()

    def _refuse_size(self) -> None:
        most = settings.API_MAX_BODY_BYTES
        self._refuse(413, f"The request's body is larger than {most:,} bytes.", "body_too_large")

    def _refuse_time(self) -> None:
        text = f"The request's body did not arrive within {settings.MAX_BODY_S} seconds."
        self._refuse(408, text, "body_too_slow")

    def _refuse(self, status: int, message: str, code: str) -> None:
        self._refused = True
        self._stop_timer()
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": code,
        }
        body = json.dumps({"error": error}).encode()
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        named = b"".join(name + b": " + value + b"\r\n" for name, value in self._cors_headers())
        channel = self.channel
        channel.transport.write(head.encode() + named + b"\r\n" + body)
        _call_later(LINGER_S, channel.loseConnection)

    # --- what Daphne itself answers ---

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """For headers that can't be, and an application that failed."""
        for name, value in self._cors_headers():
            self.responseHeaders.addRawHeader(name, value)
        super().basic_error(status, status_text, body)

    def _cors_headers(self) -> Headers:
        return cors.headers(self.requestHeaders.getRawHeaders(b"origin", [None])[0])


def _call_later(delay_s: float, function: Callable[[], None]) -> asyncio.TimerHandle:
    """By asyncio's loop, on which Daphne's reactor runs."""
    return asyncio.get_running_loop().call_later(delay_s, function)


def limit_requests() -> None:
    """Let Daphne make its requests from LimitedRequest; called once, before it serves."""
    http_protocol.WebRequest = LimitedRequest
    Server.handle_reply = _handle_reply


_pass_on = Server.handle_reply


async def _handle_reply(server: Server, protocol: Any, message: dict[str, Any]) -> None:
    """Daphne's `send`, which then waits until the transport takes more."""
    await _pass_on(server, protocol, message)
    if isinstance(protocol, LimitedRequest):
        await protocol.wait_until_read()
