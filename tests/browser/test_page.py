"""The chat's page itself: for all eyes and hands, in all sizes, and with long threads."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

SIZES = ((1440, 900), (1024, 768), (390, 844))

LONG_THREAD = """
import uuid
from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
alice = User.objects.get(username="page")
talk = Conversation.objects.create(owner=alice, title="A thousand messages")
text = '''## Part {n}

Some **bold** words and `code`, then a list:

- one
- two

```python
def part(n: int) -> int:
    return n * {n}
```

| a | b |
|---|---|
| {n} | 2 |
'''
parent, rows = None, []
for n in range(500):
    for role, words in (("user", f"Question {n}?"), ("assistant", text.format(n=n))):
        row = Message(
            conversation=talk, parent=parent, role=role, text=words, author=alice,
            finish_reason="stop" if role == "assistant" else "",
        )
        rows.append(row)
        parent = row
Message.objects.bulk_create(rows)
talk.active_leaf = parent
talk.save()
print(talk.id)
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(visit, scheme):
    alice = visit(color_scheme=scheme, bypass_csp=True)  # axe itself is injected
    page = alice.page
    alice.ask_and_wait("What is new?")
    alice.answer().locator("summary").click()
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(250)
        check(page, f"thread {width}")
    page.keyboard.press("Alt+b")
    page.wait_for_timeout(250)
    check(page, "drawer")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.keyboard.press("Alt+/")
    check(page, "keys")
    page.keyboard.press("Escape")
    alice.do("choose-again")
    check(page, "menu")
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+n")
    check(page, "new chat")


def check(page, where: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(where, v["id"], v["nodes"][0]["html"]) for v in serious] == []


def test_on_a_phone_the_list_lies_over_the_thread_and_goes_when_one_chooses(visit):
    alice = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    page = alice.page
    expect(page.locator("#sidebar")).not_to_be_in_viewport()
    page.get_by_role("button", name="Show the list").click()
    expect(page.locator("#sidebar")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.locator("#sidebar")).not_to_be_in_viewport()
    page.get_by_role("button", name="Show the list").click()
    page.locator(".conversation a").first.click()
    expect(page.locator("#sidebar")).not_to_be_in_viewport()
    expect(page.locator(".message.user")).to_be_visible()
    expect(page.locator("#context")).to_be_visible()
    send, composer = (page.locator(name).bounding_box() for name in ("#send", ".composer"))
    assert send and composer
    assert send["x"] + send["width"] < composer["x"] + composer["width"]


def test_the_view_follows_the_end_only_while_the_reader_is_there(visit):
    alice = visit(viewport={"width": 1024, "height": 380})
    page = alice.page
    scroller = page.locator("#scroller")
    distance = "s => s.scrollHeight - s.clientHeight - s.scrollTop"
    alice.ask("Write a very long story about rain.", preset="endless")
    alice.wait_for_text(chars=500)
    assert scroller.evaluate(distance) < 2
    scroller.hover()
    page.mouse.wheel(0, -120)
    page.wait_for_timeout(200)
    top = scroller.evaluate("s => s.scrollTop")
    alice.wait_for_text(chars=700)
    assert abs(scroller.evaluate("s => s.scrollTop") - top) < 2
    page.get_by_role("button", name="To the end").click()
    alice.wait_for_text(chars=850)
    assert scroller.evaluate(distance) < 2
    expect(page.locator("#to-end")).to_be_hidden()
    page.keyboard.press("Escape")
    alice.wait_for_end()


def test_a_thread_of_a_thousand_messages_opens_at_its_end_and_scrolls_smoothly(visit, stack):
    identity = stack.python(LONG_THREAD).strip().splitlines()[-1]
    page = visit(f"/c/{identity}/").page
    last = page.locator(".message").last
    expect(last.locator("h2", has_text="Part 499")).to_be_in_viewport()
    assert last.locator(".hljs-keyword").count() > 0
    page.wait_for_timeout(500)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def busy_s() -> float:
        metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
        return metrics["ScriptDuration"] + metrics["LayoutDuration"]

    before = busy_s()
    frames = page.evaluate(
        """async () => {
            const scroller = document.getElementById("scroller");
            let frames = 0;
            const until = performance.now() + 2000;
            while (performance.now() < until) {
                scroller.scrollTop -= 60;
                await new Promise(requestAnimationFrame);
                frames++;
            }
            return frames;
        }"""
    )
    per_frame_ms = 1000 * (busy_s() - before) / frames
    print(f"script and layout: {per_frame_ms:.2f} ms a frame")
    assert per_frame_ms < 8
    assert page.locator("#thread *").count() < 4000  # 33,000 elements would be all of them


def test_every_key_of_the_list_of_keys_does_something(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("What is a key?")
    page.keyboard.press("Alt+w")
    expect(alice.answer().locator(".waterfall")).to_be_visible()
    page.keyboard.press("Alt+r")
    expect(alice.answer().locator(".siblings")).to_contain_text("2 / 2")
    alice.wait_for_end()
    page.keyboard.press("Alt+,")
    expect(alice.answer().locator(".siblings")).to_contain_text("1 / 2")
    page.keyboard.press("Alt+.")
    expect(alice.answer().locator(".siblings")).to_contain_text("2 / 2")
    page.keyboard.press("Alt+p")
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+b")
    expect(page.locator("#sidebar")).to_be_hidden()
    page.keyboard.press("Alt+b")
    expect(page.locator("#sidebar")).to_be_visible()
    page.keyboard.press("Alt+/")
    expect(page.get_by_role("dialog")).to_contain_text("Copy the last answer")


def test_a_low_disk_is_said_before_one_sends_and_no_longer_than_it_lasts(visit):
    alice = visit(sockets=True)
    said = alice.page.locator("#disk-low")
    expect(said).to_be_hidden()
    alice.hear({"type": "serving", "served": None, "is_disk_low": True})
    expect(said).to_contain_text("no question is taken until there is space")
    alice.page.fill("#text", "Written meanwhile")
    alice.hear({"type": "serving", "served": None, "is_disk_low": False})
    expect(said).to_be_hidden()
    expect(alice.page.locator("#text")).to_have_value("Written meanwhile")
