"""A page that is opened while Redis is away: it connects, sends, and is told that it waits."""

from __future__ import annotations

import asyncio
import time

import httpx

from tests.support.page import Page, ended, question
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
    async def hear() -> bool:
        await asyncio.to_thread(site.redis.stop)
        first, second = Page(site, alice), Page(site, alice)
        async with first.open() as one, second.open() as other:
            await first.read(one, until="welcome")
            await asyncio.to_thread(site.redis.start)
            await asyncio.sleep(8)  # it joins its group within three seconds
            await other.send(question("Name a tree."))
            await second.read(other, until="accepted")
            frame = await asyncio.wait_for(first.read(one, until="accepted"), 10)
            await second.read(other, until="ended")
            return bool(frame["messages"])

    assert asyncio.run(hear())
