"""Faults of the whole site, produced for real: Redis away, the light worker gone, Daphne restarted."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from inference.contract import CloseCode
from tests.faults.conftest import until
from tests.support.page import Page, ended, question
from tests.support.stack import Stack


def test_a_question_asked_while_redis_is_away_is_kept_and_answered_later(
    site: Stack, alice: httpx.Client
) -> None:
    async def ask() -> str:
        page = Page(site, alice)
        async with page.open() as socket:
            await page.read(socket, until="welcome")
            await asyncio.to_thread(site.redis.stop)
            await socket.send(question("Are you there?"))
            accepted = await page.read(socket, until="accepted")
            assert accepted["messages"][-1]["state"] == "pending"
            await asyncio.to_thread(site.redis.start)
            await page.read(socket, until="ended")
            return str(accepted["conversation"]["id"])

    conversation = asyncio.run(ask())
    answer = ended(alice, conversation)
    assert answer["finish_reason"] in ("stop", "length")
    assert answer["text"]


def test_an_answer_whose_page_is_gone_is_stored_without_the_write_back_message(
    site: Stack, alice: httpx.Client
) -> None:
    """The light worker is away when the answer ends: its message waits, or is lost; the row is not."""

    async def ask() -> str:
        page = Page(site, alice)
        async with page.open() as socket:
            await socket.send(question("Name a river."))
            accepted = await page.read(socket, until="accepted")
            return str(accepted["conversation"]["id"])

    site.end("light")
    conversation = asyncio.run(ask())
    redis, queue = site.redis.client(), "chatsite:celery:web"

    def is_message_there() -> bool:
        waiting = [json.loads(message)["headers"]["task"] for message in redis.lrange(queue, 0, -1)]
        return waiting.count("chatsite.generation.store_result") == 1

    until(is_message_there, what="the message that is to be lost")
    redis.delete(queue)
    site.start_light_worker()
    answer = ended(alice, conversation)
    assert answer["finish_reason"] in ("stop", "length")


def test_an_answer_goes_on_by_itself_when_redis_is_stopped_and_started(
    site: Stack, alice: httpx.Client
) -> None:
    async def ask() -> tuple[Page, str]:
        page = Page(site, alice)
        async with page.open() as socket:
            await socket.send(question("Tell me about islands.", preset="longer"))
            accepted = await page.read(socket, until="accepted")
            await page.read(socket, until="ended", enough=20)
            await asyncio.to_thread(site.redis.stop)
            await asyncio.sleep(1.5)
            await asyncio.to_thread(site.redis.start)
            await page.read(socket, until="delta")
            await page.read(socket, until="ended")
            await socket.send(question("And who answers now?"))
            await page.read(socket, until="accepted")
            return page, str(accepted["conversation"]["id"])

    page, conversation = asyncio.run(ask())
    answer = ended(alice, conversation)
    assert answer["finish_reason"] in ("stop", "length")
    assert answer["position"] > 60, "it had ended before Redis was stopped"
    assert page.text == answer["text"]
    assert page.tokens == answer["position"]
    later = alice.get("/conversations/").json()["items"][0]
    assert later["title"] == "And who answers now?"
    assert ended(alice, later["id"])["text"]


@pytest.mark.parametrize("enough", [1, 7])
def test_text_is_byte_identical_after_daphne_restarts_in_mid_answer(
    site: Stack, alice: httpx.Client, enough: int
) -> None:
    async def ask() -> tuple[Page, str]:
        page = Page(site, alice)
        async with page.open() as socket:
            await socket.send(question("Tell me about trees.", preset="longer"))
            accepted = await page.read(socket, until="accepted")
            await page.read(socket, until="ended", enough=enough)
            await asyncio.to_thread(site.end, "web")
        site.start_web()
        site.wait_up()
        async with page.open() as socket:
            watch = {"type": "watch", "request": page.request, "position": page.tokens}
            await socket.send(json.dumps(watch))
            await page.read(socket, until="ended")
        return page, str(accepted["conversation"]["id"])

    page, conversation = asyncio.run(ask())
    answer = ended(alice, conversation)
    assert page.text == answer["text"]
    assert page.tokens == answer["position"]


def test_two_pages_that_come_at_different_times_show_the_same_text(
    site: Stack, alice: httpx.Client
) -> None:
    async def watch(request: str, after_s: float) -> Page:
        page = Page(site, alice)
        page.request = request
        await asyncio.sleep(after_s)
        async with page.open() as socket:
            await socket.send(json.dumps({"type": "watch", "request": request}))
            await page.read(socket, until="ended")
        return page

    async def ask() -> tuple[list[Page], str]:
        first = Page(site, alice)
        async with first.open() as socket:
            await socket.send(question("Tell me about birds.", preset="long"))
            accepted = await first.read(socket, until="accepted")
            others = [asyncio.create_task(watch(first.request, s)) for s in (0.0, 0.4, 1.1)]
            await first.read(socket, until="ended")
            pages = [first, *await asyncio.gather(*others)]
        return pages, str(accepted["conversation"]["id"])

    pages, conversation = asyncio.run(ask())
    answer = ended(alice, conversation)
    shown = {page.text for page in pages if page.tokens}
    assert shown == {answer["text"]}


def test_a_killed_worker_in_mid_answer_is_recovered_on_the_page(
    site: Stack, alice: httpx.Client
) -> None:
    async def ask() -> tuple[Page, str]:
        page = Page(site, alice)
        async with page.open() as socket:
            await socket.send(question("Tell me about the sea.", preset="long"))
            accepted = await page.read(socket, until="accepted")
            await page.read(socket, until="ended", enough=10)
            await asyncio.to_thread(site.end, "worker", how=9)
            site.start_worker()
            await page.read(socket, until="ended", enough=page.tokens + 1)
            await page.read(socket, until="ended")
            return page, str(accepted["conversation"]["id"])

    page, conversation = asyncio.run(ask())
    answer = ended(alice, conversation)
    assert answer["text"] == page.text
    assert answer["figures"]["attempts"] >= 2
    assert answer["figures"]["recovery_ms"] > 0
    f = answer["figures"]
    assert f["latency_ms"] == pytest.approx(f["ttft_ms"] + f["decode_ms"] + f["recovery_ms"])


def test_signing_out_closes_the_socket(site: Stack, alice: httpx.Client) -> None:
    async def watch() -> int:
        page = Page(site, alice)
        async with page.open() as socket:
            await page.read(socket, until="welcome")
            await asyncio.sleep(0.5)
            headers = {"X-CSRFToken": alice.cookies["csrftoken"], "Referer": site.url}
            await asyncio.to_thread(alice.post, "/accounts/sign-out/", headers=headers)
            await asyncio.wait_for(socket.wait_closed(), 20)
            return int(socket.close_code or 0)

    assert asyncio.run(watch()) == CloseCode.SIGNED_OUT
