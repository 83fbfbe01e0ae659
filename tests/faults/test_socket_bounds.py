"""What one socket may ask of the web process: sizes that come in, bytes that nobody reads."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from chatsite.server.socket_limits import MAX_FRAME_BYTES, MAX_UNREAD_BYTES
from inference.contract import CloseCode
from tests.support.page import Page, question
from tests.support.stack import Stack

WATCHES = 55  # below the budget of frames; each is answered with a whole long answer
LONG = """
import uuid
from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
alice = User.objects.get(username="alice")
talk = Conversation.objects.create(owner=alice)
answer = Message.objects.create(conversation=talk, role="assistant", author=alice, finish_reason="stop",
                                text="x" * 1_000_000, request_id=uuid.uuid4())
print(answer.request_id)
"""


@pytest.mark.parametrize("size", [1_100_000, MAX_FRAME_BYTES - 100])
def test_a_frame_that_may_be_sent_arrives_whole(
    site: Stack, alice: httpx.Client, size: int
) -> None:
    """Daphne's own limit, 1 MiB, closed the socket on frames that the site has words for."""

    async def refusal() -> Any:
        page = Page(site, alice)
        async with page.open() as socket:
            await socket.send(question("x" * (size - 200)))
            while (frame := json.loads(await socket.recv()))["type"] != "error":
                pass
            return frame

    assert asyncio.run(refusal())["field"] == "text"


def test_each_code_that_closes_a_socket_reaches_its_client(
    site: Stack, alice: httpx.Client
) -> None:
    """Through Daphne and Autobahn, which turn a code below 3000 into an error of their own."""
    ping = json.dumps({"type": "ping"})
    signed_out = httpx.Client(base_url=site.url)
    reasons: dict[CloseCode, tuple[httpx.Client, list[str | bytes]]] = {
        CloseCode.BINARY_FRAME: (alice, [b"\x00"]),
        CloseCode.FRAME_TOO_BIG: (alice, [question("x" * MAX_FRAME_BYTES)]),
        CloseCode.TOO_MANY_FRAMES: (alice, [ping] * 200),
        CloseCode.SIGNED_OUT: (signed_out, []),
    }

    async def code_after(client: httpx.Client, sent: list[str | bytes]) -> int:
        async with Page(site, client).open() as socket:
            with suppress(ConnectionClosed):
                for frame in sent:
                    await socket.send(frame)
                while True:  # unread replies would keep the close frame from being read
                    await asyncio.wait_for(socket.recv(), 20)
            return int(socket.close_code or 0)

    for code, (client, sent) in reasons.items():
        assert asyncio.run(code_after(client, sent)) == code


def test_a_reader_that_never_reads_costs_bounded_memory_and_disturbs_nobody(
    site: Stack, alice: httpx.Client
) -> None:
    request = site.python(LONG).strip()
    web = psutil.Process(site.processes["web"].pid)

    async def neglect() -> tuple[int, int]:
        raw = sockets.create_connection(("127.0.0.1", site.port))
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        page = Page(site, alice)
        before = web.memory_info().rss
        neglected = connect(
            site.url.replace("http", "ws") + "/ws/chat/",
            sock=raw,
            origin=site.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": page.cookies},
            compression=None,
            max_size=None,
            max_queue=1,  # the library takes one frame and then leaves the rest to the kernel
        )
        async with neglected as socket, page.open() as other:
            for _ in range(WATCHES):
                await socket.send(json.dumps({"type": "watch", "request": request}))
            await asyncio.sleep(6)
            grown = web.memory_info().rss - before
            await other.send('{"type":"ping"}')
            await asyncio.wait_for(page.read(other, until="pong"), 5)
            taken = 0
            with suppress(ConnectionClosed):
                while True:
                    taken += len(await asyncio.wait_for(socket.recv(), 10))
            # The connection may have been cut before its code could be read.
            assert socket.close_code in (CloseCode.SLOW_READER, 1006)
            return taken, grown

    taken, grown = asyncio.run(neglect())
    assert taken < 0.3 * WATCHES * 1_000_000, "it was never closed"
    assert grown < 20 * MAX_UNREAD_BYTES
