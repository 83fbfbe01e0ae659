"""Bounds on what the web server holds for a client: what it takes in, and what isn't fetched.

Daphne reads a request's whole body, onto the disk when it is large, before it asks the application.
So a body that is too large or comes too slowly is refused here, while it arrives: with a JSON error
and a closed connection.

It also takes all that the application writes, whether the client reads or not. Here who writes
waits until the client has read, and a client that reads nothing for too long is cut off.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from daphne import http_protocol
from daphne.server import Server
from django.conf import settings
from twisted.internet import reactor

REASONS = {413: "Content Too Large", 408: "Request Timeout"}
LINGER_S = 1.0  # what still arrives is dropped for this long, so that the client reads the answer


class BoundedRequest(http_protocol.WebRequest):
    """Daphne's request with a limit on its body's size and on the time that the body takes.

    While the reply is written it is told by the transport, as a producer is, when that holds more
    than it wants to.
    """

    _size = 0
    _refused = False
    _timer: Any = None
    _unread: asyncio.Future[None] | None = None  # done when the client has read; None: it has
    _unread_timer: Any = None

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > settings.API_MAX_BODY_BYTES:
            self._refuse_size()
        elif length != 0:
            self._timer = reactor.callLater(settings.MAX_BODY_S, self._refuse_time)

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
        is_open = not self.finished and self.channel is not None
        if is_open and message.get("type") == "http.response.start":
            self.registerProducer(self, True)
        super().handle_reply(message)

    def finish(self) -> None:
        self.unregisterProducer()
        self.resumeProducing()
        super().finish()

    async def read(self) -> None:
        """Wait until the client has read what was written, or is gone."""
        if self._unread is not None:
            await asyncio.shield(self._unread)

    def pauseProducing(self) -> None:
        if self._unread is None:
            self._unread = asyncio.get_running_loop().create_future()
            self._unread_timer = reactor.callLater(settings.MAX_UNREAD_S, self._cut_off)

    def resumeProducing(self) -> None:
        if self._unread is None:
            return
        if self._unread_timer.active():
            self._unread_timer.cancel()
        self._unread.set_result(None)
        self._unread = None

    def stopProducing(self) -> None:
        self.resumeProducing()

    def _cut_off(self) -> None:
        """The application hears of it as of any client that goes away."""
        if self.channel is not None:
            self.channel.transport.abortConnection()

    # --- what comes too slowly or is too much ---

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

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
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        channel = self.channel
        channel.transport.write(head.encode() + body)
        reactor.callLater(LINGER_S, channel.loseConnection)


def bound_requests() -> None:
    """Let Daphne make its requests from BoundedRequest; called once, before it serves."""
    http_protocol.WebRequest = BoundedRequest
    Server.handle_reply = _handle_reply


_pass_on = Server.handle_reply


async def _handle_reply(server: Server, protocol: Any, message: dict[str, Any]) -> None:
    """What `send` does: it returns when more can be taken."""
    await _pass_on(server, protocol, message)
    if isinstance(protocol, BoundedRequest):
        await protocol.read()
