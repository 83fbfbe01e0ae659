"""Bounds on what the web server takes in before anybody looks at it.

Daphne reads a request's whole body, onto the disk when it is large, before it asks the application.
So a body that is too large or comes too slowly is refused here, while it arrives: with a JSON error
and a closed connection.
"""

from __future__ import annotations

import json
from typing import Any

from daphne import http_protocol
from django.conf import settings
from twisted.internet import reactor

REASONS = {413: "Content Too Large", 408: "Request Timeout"}
LINGER_S = 1.0  # what still arrives is dropped for this long, so that the client reads the answer


class BoundedRequest(http_protocol.WebRequest):
    """Daphne's request with a limit on its body's size and on the time that the body takes."""

    _size = 0
    _refused = False
    _timer: Any = None

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
        super().connectionLost(reason)

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
