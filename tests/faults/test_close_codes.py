"""Every code that closes a socket arrives through real Daphne (FRAME_TOO_BIG and SLOW_READER are in
test_socket_bounds.py)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from inference.contract import CloseCode
from tests.support.page import Page, ended, question
from tests.support.stack import Stack


async def code_of(socket: Any) -> int:
    """Read until it is closed: the code comes behind what was sent before."""
    with suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(socket.recv(), 20)
    return int(socket.close_code or 0)


@contextmanager
def refused_ends(site: Stack, request: str) -> Iterator[None]:
    """The database refuses to store how this request ends."""
    with closing(sqlite3.connect(site.folder / "data" / "db.sqlite3", timeout=20)) as database:
        database.execute(
            "CREATE TRIGGER refuse_end BEFORE UPDATE ON metrics_generation"
            f" WHEN NEW.request_id = '{request.replace('-', '')}' AND NEW.stored_at IS NOT NULL"
            " BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
        )
        try:
            yield
        finally:
            database.execute("DROP TRIGGER refuse_end")


def test_a_binary_frame_closes_the_socket_and_writes_one_line(
    site: Stack, alice: httpx.Client
) -> None:
    log = site.folder / "web.log"
    before = log.stat().st_size

    async def send() -> int:
        page = Page(site, alice)
        async with page.open() as socket:
            await page.read(socket, until="welcome")
            with suppress(ConnectionClosed):
                for _ in range(50):
                    await socket.send(b"\0" * 100_000)
            return await code_of(socket)

    assert asyncio.run(send()) == CloseCode.BINARY_FRAME
    said = log.read_bytes()[before:].decode()
    assert said.count("BINARY_FRAME") == 1
    assert "Traceback" not in said


def test_too_many_frames_close_the_socket(site: Stack, alice: httpx.Client) -> None:
    async def flood() -> int:
        page = Page(site, alice)
        async with page.open() as socket:
            with suppress(ConnectionClosed):
                for _ in range(500):
                    await socket.send('{"type":"ping"}')
            return await code_of(socket)

    assert asyncio.run(flood()) == CloseCode.TOO_MANY_FRAMES


def test_an_anonymous_socket_is_closed(site: Stack) -> None:
    async def come() -> int:
        url = site.url.replace("http", "ws") + "/ws/chat/"
        async with connect(url, origin=site.url) as socket:  # type: ignore[arg-type]
            return await code_of(socket)

    assert asyncio.run(come()) == CloseCode.SIGNED_OUT


def test_an_answer_that_cannot_be_stored_closes_the_socket_so_that_the_page_comes_again(
    site: Stack, alice: httpx.Client
) -> None:
    async def fails() -> tuple[int, str]:
        page = Page(site, alice)
        async with page.open() as socket:
            await socket.send(question("Tell me about seas.", preset="longer"))
            accepted = await page.read(socket, until="accepted")
            await page.read(socket, until="ended", enough=5)
            with refused_ends(site, page.request):
                code = await code_of(socket)
            return code, str(accepted["conversation"]["id"])

    code, conversation = asyncio.run(fails())
    assert code == CloseCode.BROKEN
    assert ended(alice, conversation)["finish_reason"] in ("stop", "length")
