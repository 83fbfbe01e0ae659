"""Bounds on the chat's socket that Daphne leaves to nobody.

In: a message larger than any that the site would read is refused while it arrives, with
CloseCode.FRAME_TOO_BIG, however Daphne was started: its own default is less than a message may be.

Out: Daphne's send never waits, so that what a client doesn't read would pile up in this process
until the pings notice. A socket with MAX_UNREAD_BYTES unread is closed; whoever is only slow opens
another one and goes on from the token it has.
"""

from __future__ import annotations

import logging
from typing import Any

from daphne import ws_protocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from chatsite.chat import frames
from inference.contract import CloseCode

logger = logging.getLogger(__name__)

MAX_UNREAD_BYTES = 2_000_000
CLOSE_S = 5.0  # for the client to have read the code, before the connection is cut


@implementer(IPushProducer)
class Unread:
    """Counts what is sent while the transport says that its client takes no more."""

    def __init__(self) -> None:
        self.is_full = False
        self.num_bytes = 0

    def pauseProducing(self) -> None:
        self.is_full = True

    def resumeProducing(self) -> None:
        self.is_full, self.num_bytes = False, 0

    def stopProducing(self) -> None:
        """The connection is lost; there is nothing to stop."""

    def add(self, num_bytes: int) -> bool:
        """Whether this much more may be held for the client."""
        if self.is_full:
            self.num_bytes += num_bytes
        return self.num_bytes <= MAX_UNREAD_BYTES


class BoundedSocket(ws_protocol.WebSocketProtocol):
    """Daphne's, bounded in both directions."""

    def onConnect(self, request: Any) -> Any:
        self.maxMessagePayloadSize = self.maxFramePayloadSize = frames.MAX_FRAME_BYTES
        self.failByDrop = False  # or the page would see a lost connection, and send it all again
        self.closeHandshakeTimeout = CLOSE_S
        self._unread = Unread()
        # The HTTP request that became this socket would stop reading while its client doesn't.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self._unread, True)
        return super().onConnect(request)

    def serverSend(self, content: Any, binary: bool = False) -> None:
        if self.state not in (self.STATE_OPEN, self.STATE_CONNECTING):
            return
        if self._unread.add(len(content)):
            super().serverSend(content, binary)
        else:
            logger.warning("a socket is closed: %d bytes unread", self._unread.num_bytes)
            # The code comes behind what waits; without an answer Autobahn cuts the connection.
            self.sendClose(code=int(CloseCode.SLOW_READER))


def bound_sockets() -> None:
    """Let Daphne make its sockets from BoundedSocket; called once, before it serves."""
    ws_protocol.WebSocketFactory.protocol = BoundedSocket
