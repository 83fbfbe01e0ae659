"""The list of conversations: found, renamed, deleted with a way back, loaded as one scrolls."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

ROWS = """
import uuid
from datetime import timedelta
from django.utils import timezone
from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
alice = User.objects.get(username="sidebar")
now = timezone.now()
for day in range(90):
    talk = Conversation.objects.create(owner=alice, title=f"Day {day:02d}")
    text = "Needle in the <b>hay</b>stack" if day == 71 else "Nothing to see"
    asked = Message.objects.create(
        conversation=talk, role="user", text=text, author=alice
    )
    Conversation.objects.filter(pk=talk.pk).update(
        active_leaf=asked, updated_at=now - timedelta(days=day)
    )
"""


@pytest.fixture(scope="module")
def rows(stack, person) -> None:
    stack.python(ROWS)


def test_alice_renames_a_conversation_with_mouse_and_keys(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("What is a name?")
    row = page.locator(".conversation", has_text="What is a name?")
    row.hover()
    row.locator('[data-do="rename"]').click()
    page.keyboard.type("A <i>better</i> name")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("A <i>better</i> name")
    expect(page.locator(".conversation [aria-current] .name")).to_have_text("A <i>better</i> name")

    page.keyboard.press("F2")
    page.keyboard.type("Never")
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+t")
    page.keyboard.type("Final")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("Final")
    (stored,) = alice.query(
        "SELECT title FROM chat_conversation WHERE id = ?", alice.conversation.hex
    )
    assert stored["title"] == "Final"
    alice.reload()
    expect(page.locator("#title")).to_have_text("Final")


def test_news_do_not_disturb_renaming(visit):
    alice = visit()
    page = alice.page
    alice.ask("Write a long tale of a tortoise.", preset="endless")
    alice.wait_for_text()
    page.keyboard.press("Alt+t")
    page.keyboard.type("Half a ti")
    other = visit(f"/c/{alice.conversation}/")
    other.wait_for_text()
    other.page.keyboard.press("Escape")
    alice.wait_for_end()
    page.keyboard.type("tle")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("Half a title")
    expect(other.page.locator("#title")).to_have_text("Half a title")


def test_deleting_can_be_undone_for_a_while(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("Delete me not.")
    identity = alice.conversation
    row = page.locator(".conversation", has_text="Delete me not.")
    row.hover()
    row.locator('[data-do="delete"]').click()
    expect(row).to_have_count(0)
    expect(page.locator("#welcome")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(row).to_be_visible()
    expect(page.locator(".message.user .content")).to_have_text("Delete me not.")
    assert alice.conversation == identity
    page.goto("/history/")  # leaving the page carries out what can't be undone any more
    page.goto(f"/c/{identity}/")
    expect(page.locator(".message.user .content")).to_have_text("Delete me not.")
    assert len(alice.stored()) == 2


def test_a_deletion_is_kept_when_the_page_is_left_before_the_time_is_over(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("Delete me.")
    identity = alice.conversation
    page.keyboard.press("Alt+x")
    expect(page.locator("#toast")).to_contain_text("Delete me.")
    page.goto("/history/")
    page.wait_for_timeout(500)
    assert alice.query("SELECT id FROM chat_conversation WHERE id = ?", identity.hex) == []


def test_a_conversation_deleted_in_another_tab_leaves_this_one(visit):
    alice = visit()
    alice.ask_and_wait("Gone tomorrow.")
    other = visit(f"/c/{alice.conversation}/")
    expect(other.page.locator(".message.user")).to_be_visible()
    alice.page.keyboard.press("Alt+x")
    alice.page.goto("/history/")
    expect(other.page.locator("#welcome")).to_be_visible()
    expect(other.page.locator(".conversation", has_text="Gone tomorrow.")).to_have_count(0)


def test_search_finds_words_in_titles_and_messages_and_marks_them(visit, rows):
    page = visit().page
    page.keyboard.press("Alt+k")
    page.keyboard.type("needle")
    found = page.locator(".conversation")
    expect(found).to_have_count(1)
    expect(found.locator(".name")).to_have_text("Day 71")
    expect(found.locator(".snippet mark")).to_have_text("Needle")
    expect(found.locator(".snippet")).to_contain_text("in the <b>hay</b>stack")
    page.fill("#search", "day 1")
    expect(page.locator(".conversation mark").first).to_have_text("Day 1")
    page.fill("#search", "no such words")
    expect(page.locator("#conversations")).to_have_text("Nothing found.")


def test_the_list_is_grouped_by_day_and_grows_as_one_scrolls(visit, rows):
    page = visit().page
    headings = page.locator("#conversations h2")
    expect(headings.first).to_have_text("Today")
    expect(headings.nth(1)).to_have_text("Yesterday")
    expect(headings.nth(2)).to_have_text("Last seven days")
    first = page.locator(".conversation").count()
    assert first < 90
    last = page.locator(".conversation", has_text="Day 89")
    for _ in range(10):
        page.locator("#conversations").evaluate("list => list.scrollTo(0, list.scrollHeight)")
        page.wait_for_timeout(150)
        if last.count():
            break
    expect(last).to_be_visible()
    names = page.locator(".conversation .name", has_text="Day").all_inner_texts()
    assert names == [f"Day {day:02d}" for day in range(90)]
