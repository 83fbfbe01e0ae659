"""Nothing that a person wrote goes where it was not meant, or is lost, however it is sent."""

from __future__ import annotations

import json
import uuid

from playwright.sync_api import Route, expect

from tests.support.frames import new_ids


def test_a_question_asked_while_a_conversation_loads_is_not_sent_to_the_next_one(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("What is a lighthouse?")
    first = alice.conversation
    page.keyboard.press("Alt+n")
    alice.ask_and_wait("What is a whale?")
    second = alice.conversation
    held: list[Route] = []
    page.route(f"**/conversations/{first}/?*", lambda route: held.append(route))
    page.locator(".conversation", has_text="lighthouse").locator("a").click()
    page.wait_for_url(f"**/c/{first}/")
    alice.ask("Who keeps it?")
    page.locator(".conversation", has_text="whale").locator("a").click()
    page.wait_for_url(f"**/c/{second}/")
    expect(alice.answer()).to_be_visible()
    for route in held:
        route.continue_()
    page.unroute(f"**/conversations/{first}/?*")
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
    frame = {"type": "send", **new_ids("send"), "conversation": None, "parent": None}
    name = page.evaluate("JSON.parse(document.getElementById('page-data').textContent).user.name")
    tab = page.evaluate("sessionStorage.getItem('tab')")
    key = f"outbox:{name}:{tab}"
    page.evaluate(
        "([key, frames]) => localStorage.setItem(key, frames)",
        [key, json.dumps([{"frame": frame | {"text": text}, "editing": None}])],
    )
    alice.reload()
    expect(page.locator("#note")).to_have_text(
        "This message is too large to be sent. It is back where you wrote it; shorten it.",
        timeout=20_000,
    )
    expect(page.locator("body.connected")).to_be_visible()
    assert page.input_value("#text") == text
    assert page.evaluate("key => localStorage.getItem(key)", key) is None
    page.fill("#text", "")
    alice.ask_and_wait("And a short one?")


def test_what_a_page_of_an_older_version_had_not_sent_goes_back_into_the_composer(visit):
    """Its frames had no ids that the site knows today."""
    alice = visit()
    page = alice.page
    name = page.evaluate("JSON.parse(document.getElementById('page-data').textContent).user.name")
    old = {
        "type": "send",
        "client_id": "1",
        "conversation": None,
        "parent": None,
        "text": "Old words",
    }
    tab = page.evaluate("sessionStorage.getItem('tab')")
    page.evaluate(
        "([key, frames]) => localStorage.setItem(key, frames)",
        [f"outbox:{name}:{tab}", json.dumps([old])],
    )
    alice.reload()
    expect(page.locator("#text")).to_have_value("Old words")
    expect(page.locator(".message")).to_have_count(0)
    page.fill("#text", "")
    alice.ask_and_wait("New words?")


def test_a_message_is_one_element_from_the_moment_it_is_asked(visit):
    """The site takes the ids that the page made: nothing is built anew when it has stored them."""
    alice = visit(sockets=True)
    page = alice.page
    alice.cut()
    alice.ask("Who are you?")
    expect(page.locator(".message")).to_have_count(2)
    shown = page.locator(".message").evaluate_all("all => all.map((message) => message.dataset.id)")
    page.evaluate("window.first = [...document.querySelectorAll('.message')]")
    alice.mend()
    alice.wait_for_end()
    assert [str(uuid.UUID(row["id"])) for row in alice.stored()] == shown
    assert page.evaluate(
        "[...document.querySelectorAll('.message')].every((m, at) => m === window.first[at])"
    )
    assert len([frame for frame in alice.frames if '"send"' in frame]) == 1


def test_more_and_other_answers_asked_without_a_connection_wait_where_they_will_be(visit):
    alice = visit(sockets=True)
    page = alice.page
    alice.ask_and_wait("Tell me about tides.")
    before = alice.stored()[-1]
    alice.cut()
    alice.do("continue")
    phase = alice.answer().locator(".phase")
    expect(phase).to_contain_text("waiting for the connection")
    expect(alice.answer().locator(".content")).not_to_have_text("")
    page.keyboard.press("Escape")
    expect(phase).to_be_hidden()
    expect(alice.answer().locator(".trouble")).to_contain_text("limit")

    alice.do("regenerate")
    expect(alice.answer().locator(".siblings")).to_contain_text("2 / 2")
    expect(phase).to_contain_text("waiting for the connection")
    page.keyboard.press("Escape")
    expect(alice.answer().locator(".siblings")).to_be_hidden()

    alice.do("continue")
    alice.reload()
    expect(phase).to_contain_text("waiting for the connection")
    alice.mend()
    alice.wait_for_end()
    after = alice.stored()[-1]
    assert after["id"] == before["id"]
    assert after["text"].startswith(before["text"])
    assert len(after["text"]) > len(before["text"])
    assert len(alice.stored()) == 2
