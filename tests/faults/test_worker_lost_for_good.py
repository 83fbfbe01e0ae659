"""The worker is killed in mid-answer and nobody starts another: the promise of ten seconds.

This site runs with the default CHATSITE_RECOVER_WITHIN_S (default_bounds_stack).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from inference.queue.connection import QueueSettings
from tests.support.frames import asking
from tests.support.page import Page, ended, question, sign_in
from tests.support.stack import Stack

PROMISED_S = QueueSettings().recover_within_s


@pytest.fixture(scope="module")
def site(default_bounds_stack: Stack) -> Iterator[Stack]:
    yield default_bounds_stack
    default_bounds_stack.stop()  # these tests are the last ones that need it


@pytest.fixture
def alice(site: Stack) -> httpx.Client:
    """Alice, and a worker that has its model."""
    if "worker" not in site.processes:
        site.start_worker()
    site.wait_ready()
    return sign_in(site, "alice")


async def begin(site: Stack, alice: httpx.Client, text: str) -> tuple[Page, Any, str]:
    """An answer in the middle, its open socket, and its conversation."""
    page = Page(site, alice)
    socket = await page.open()
    await socket.send(question(text, preset="endless"))
    accepted = await page.read(socket, until="accepted")
    await page.read(socket, until="ended", enough=10)
    return page, socket, str(accepted["conversation"]["id"])


def test_an_open_page_is_told_within_ten_seconds_and_can_continue_later(
    site: Stack, alice: httpx.Client
) -> None:
    async def lose() -> tuple[Page, dict[str, Any], str, float]:
        page, socket, conversation = await begin(site, alice, "Tell me about the sea.")
        async with socket:
            await asyncio.to_thread(site.end, "worker", how=9)
            killed_at = time.monotonic()
            frame = await page.read(socket, until="ended")
            return page, frame["message"], conversation, time.monotonic() - killed_at

    async def go_on(answer: dict[str, Any]) -> dict[str, Any]:
        page = Page(site, alice)
        page.text, page.tokens = answer["text"], answer["position"]
        async with page.open() as socket:
            await socket.send(asking("continue", message=answer["id"]))
            await page.read(socket, until="accepted")
            await page.read(socket, until="ended", enough=answer["position"] + 10)
            await socket.send(json.dumps({"type": "stop", "message": answer["id"]}))
            return (await page.read(socket, until="ended"))["message"]

    page, told, conversation, took_s = asyncio.run(lose())
    assert took_s < PROMISED_S
    answer = ended(alice, conversation, within_s=0.5)
    assert (answer["finish_reason"], answer["error_code"]) == ("interrupted", "worker_lost")
    assert answer["text"] == told["text"] == page.text
    assert answer["position"] == page.tokens >= 10

    site.start_worker()
    site.wait_ready()
    longer = asyncio.run(go_on(answer))
    assert longer["id"] == answer["id"]
    assert longer["text"].startswith(answer["text"])
    assert longer["position"] >= answer["position"] + 10


def test_an_answer_that_nobody_watches_is_stored_within_ten_seconds(
    site: Stack, alice: httpx.Client
) -> None:
    async def lose() -> tuple[Page, str, float]:
        page, socket, conversation = await begin(site, alice, "Tell me about deserts.")
        await socket.close()
        await asyncio.to_thread(site.end, "worker", how=9)
        return page, conversation, time.monotonic()

    page, conversation, killed_at = asyncio.run(lose())
    answer = ended(alice, conversation, within_s=PROMISED_S + 5)
    took_s = time.monotonic() - killed_at
    assert took_s < PROMISED_S
    assert answer["finish_reason"] == "interrupted"
    assert answer["text"].startswith(page.text)
    assert answer["position"] >= page.tokens
