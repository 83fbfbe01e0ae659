"""What a person sees when a part of the site is lost in the middle of an answer."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from inference.queue.connection import QueueSettings
from tests.browser.test_answers import LONG

PROMISED_S = QueueSettings().recover_within_s


def test_a_killed_worker_that_nobody_replaces_leaves_text_and_a_continue_button(stack, visit):
    alice = visit()
    alice.ask(LONG, preset="endless")
    alice.wait_for_text(chars=80)
    stack.end("worker", how=9)
    killed_at = time.monotonic()
    button = alice.answer().locator('[data-do="continue"]')
    expect(button).to_be_visible(timeout=1000 * PROMISED_S)
    assert time.monotonic() - killed_at < PROMISED_S
    expect(alice.answer().locator(".trouble")).to_have_text(
        re.compile(r"^The model's worker stopped after \d+ tokens\.$")
    )
    before = alice.stored()[-1]
    assert before["finish_reason"] == "interrupted"
    assert len(before["text"]) >= 80
    assert alice.shows_exactly(before["text"])

    stack.start_worker()
    stack.wait_ready()
    button.click()
    alice.goes_on_from(before)


def test_an_answer_goes_on_by_itself_when_redis_was_stopped_and_started(stack, visit):
    alice = visit()
    alice.ask(LONG, preset="endless")
    alice.wait_for_text(chars=80)
    shown = len(alice.answer().locator(".content").inner_text())
    stack.redis.stop()
    alice.page.wait_for_timeout(1500)
    stack.redis.start()
    alice.wait_for_text(chars=shown + 200)
    alice.page.keyboard.press("Escape")
    alice.wait_for_end()
    assert alice.shows_exactly(alice.stored()[-1]["text"])
    alice.ask_and_wait("And now?")
