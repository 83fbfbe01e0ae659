"""Nothing that a person wrote goes where it was not meant, or is lost, however it is sent."""

from __future__ import annotations

import json
import uuid

from playwright.sync_api import Route, expect


def test_a_question_asked_while_a_conversation_loads_is_not_sent_to_the_next_one(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("What is a lighthouse?")
    first = alice.conversation
    page.keyboard.press("Alt+n")
    alice.ask_and_wait("What is a whale?")
    second = alice.conversation
    held: list[Route] = []
    page.route(f"**/conversations/{first}/", lambda route: held.append(route))
    page.locator(".conversation", has_text="lighthouse").locator("a").click()
    page.wait_for_url(f"**/c/{first}/")
    alice.ask("Who keeps it?")
    page.locator(".conversation", has_text="whale").locator("a").click()
    page.wait_for_url(f"**/c/{second}/")
    expect(alice.answer()).to_be_visible()
    for route in held:
        route.continue_()
    page.unroute(f"**/conversations/{first}/")
    page.wait_for_timeout(500)
    assert alice.query("SELECT id FROM chat_message WHERE text = 'Who keeps it?'") == []
    page.locator(".conversation", has_text="lighthouse").locator("a").click()
    expect(page.locator("#text")).to_have_value("Who keeps it?")
    expect(page.locator(".message")).to_have_count(2)
    page.fill("#text", "")


def test_a_frame_too_large_for_the_site_is_sent_once_and_its_text_comes_back(visit):
    """A page of an older version, or another limit at a proxy: the page itself sends no such one."""
    alice = visit()
    page = alice.page
    text = "many words " * 160_000
    frame = {"type": "send", "client_id": str(uuid.uuid4()), "conversation": None, "parent": None}
    name = page.evaluate("JSON.parse(document.getElementById('page-data').textContent).user.name")
    page.evaluate(
        "([key, frames]) => sessionStorage.setItem(key, frames)",
        [f"outbox:{name}", json.dumps([frame | {"text": text}])],
    )
    alice.reload()
    expect(page.locator("#note")).to_have_text(
        "This message is too large to be sent. It is back where you wrote it; shorten it.",
        timeout=20_000,
    )
    expect(page.locator("body.connected")).to_be_visible()
    assert page.input_value("#text") == text
    assert page.evaluate("key => sessionStorage.getItem(key)", f"outbox:{name}") == "[]"
    page.fill("#text", "")
    alice.ask_and_wait("And a short one?")
