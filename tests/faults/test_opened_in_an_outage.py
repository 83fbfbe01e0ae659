"""A page that is opened while Redis is away: it connects, sends, and is told that it waits."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import httpx

from tests.support.page import Page, ended, post, question
from tests.support.stack import Stack


def test_a_page_opened_while_redis_is_away_sends_and_is_answered_later(
    site: Stack, alice: httpx.Client
) -> None:
    async def ask() -> str:
        await asyncio.to_thread(site.redis.stop)
        log = site.folder / "web.log"
        before = log.stat().st_size
        try:
            assert (await asyncio.to_thread(alice.get, "/")).status_code == 200
            page = Page(site, alice)
            began = time.monotonic()
            async with page.open() as socket:
                await page.read(socket, until="welcome")
                assert time.monotonic() - began < 5
                await socket.send(question("Are you there?"))
                accepted = await page.read(socket, until="accepted")
                assert accepted["messages"][-1]["state"] == "pending"
                await asyncio.sleep(4)  # the watch over the socket fails meanwhile
                said = log.read_bytes()[before:].decode()
                await asyncio.to_thread(site.redis.start)
                await page.read(socket, until="ended")
            assert "Traceback" not in said, said
            assert said.count("Redis is away") <= 4, said
            return str(accepted["conversation"]["id"])
        finally:
            await asyncio.to_thread(site.redis.start)

    answer = ended(alice, asyncio.run(ask()))
    assert answer["finish_reason"] in ("stop", "length")


def test_a_page_opened_in_an_outage_hears_of_changes_afterwards(
    site: Stack, alice: httpx.Client
) -> None:
    async def ask() -> str:
        page = Page(site, alice)
        async with page.open() as socket:
            await socket.send(question("Name a tree."))
            accepted = await page.read(socket, until="accepted")
            await page.read(socket, until="ended")
            return str(accepted["conversation"]["id"])

    async def hear(conversation: str) -> None:
        rename = partial(post, alice, f"/conversations/{conversation}/rename/")
        await asyncio.to_thread(site.redis.stop)
        page = Page(site, alice)
        async with page.open() as socket:
            await page.read(socket, until="welcome")
            await asyncio.to_thread(site.redis.start)
            heard = asyncio.create_task(page.read(socket, until="changed"))
            for number in range(10):  # it joins its group within three seconds
                done = await asyncio.to_thread(rename, {"title": f"Trees {number}"})
                assert done.status_code == 200
                if (await asyncio.wait([heard], timeout=1))[0]:
                    break
            frame = await asyncio.wait_for(heard, 1)
            assert frame["conversation"] == conversation

    asyncio.run(hear(asyncio.run(ask())))
