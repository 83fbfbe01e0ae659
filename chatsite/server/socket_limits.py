"""Limits on the chat's socket, which Daphne doesn't set.

Incoming: a message larger than any that the site accepts is refused while it arrives, with
CloseCode.FRAME_TOO_BIG. Daphne's own limit is lower than the longest message of the chat.

Outgoing: Daphne's `send` never waits, so what a client doesn't read would pile up in this process
until its pings fail. A socket with MAX_UNREAD_BYTES unread is closed. A page that was merely slow
reconnects and continues from the last token it has.
"""

from __future__ import annotations

import logging
from typing import Any

from daphne import ws_protocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from inference.contract import CloseCode

logger = logging.getLogger(__name__)

MAX_FRAME_BYTES = 1_500_000  # a message of MAX_TEXT_CHARS in escaped JSON, with room
MAX_UNREAD_BYTES = 2_000_000
CLOSE_S = 5.0  # for the client to read the close code, before the connection is cut


@implementer(IPushProducer)
class UnreadCounter:
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


class LimitedSocket(ws_protocol.WebSocketProtocol):
    """Daphne's, limited in both directions."""

    def onConnect(self, request: Any) -> Any:
        self.maxMessagePayloadSize = self.maxFramePayloadSize = MAX_FRAME_BYTES
        self.failByDrop = False  # or the page would see a lost connection, and send it all again
        self.closeHandshakeTimeout = CLOSE_S
        self._unread = UnreadCounter()
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


def limit_sockets() -> None:
    """Let Daphne make its sockets from LimitedSocket; called once, before it serves."""
    ws_protocol.WebSocketFactory.protocol = LimitedSocket
