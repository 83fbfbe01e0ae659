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


def deleted_at(visit, identity) -> str | None:
    (row,) = visit.query("SELECT deleted_at FROM chat_conversation WHERE id = ?", identity.hex)
    return row["deleted_at"]


def test_deleting_can_be_undone(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("Delete me not.")
    identity = alice.conversation
    row = page.locator(".conversation", has_text="Delete me not.")
    row.hover()
    row.locator('[data-do="delete"]').click()
    expect(row).to_have_count(0)
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator("#undo [data-undo]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row).to_be_visible()
    expect(page.locator(".message.user .content")).to_have_text("Delete me not.")
    expect(page.locator("#undo")).to_be_hidden()
    assert alice.conversation == identity
    assert deleted_at(alice, identity) is None
    page.goto(f"/c/{identity}/")
    expect(page.locator(".message.user .content")).to_have_text("Delete me not.")
    assert len(alice.stored()) == 2


def test_a_deletion_is_the_sites_and_can_be_undone_after_a_reload(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("Delete me.")
    identity = alice.conversation
    page.keyboard.press("Alt+x")
    expect(page.locator("#undo")).to_contain_text("Delete me.")
    page.goto("/history/")  # at once: nothing waits for a timer of the page
    expect(page.locator("tbody", has_text="Delete me.")).to_have_count(0)
    assert deleted_at(alice, identity)
    page.goto("/")
    expect(page.locator("#undo")).to_contain_text("Deleted “Delete me.”")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".conversation", has_text="Delete me.")).to_be_visible()
    expect(page.locator("#welcome")).to_be_visible()  # one stays where one was
    assert deleted_at(alice, identity) is None


def test_undo_stays_where_one_was(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("To be deleted.")
    page.keyboard.press("Alt+n")
    alice.ask_and_wait("Being read.")
    here = alice.conversation
    row = page.locator(".conversation", has_text="To be deleted.")
    row.hover()
    row.locator('[data-do="delete"]').click()
    page.get_by_role("button", name="Undo").click()
    expect(row).to_be_visible()
    assert alice.conversation == here
    expect(page.locator(".message.user .content")).to_have_text("Being read.")


def test_a_dismissed_deletion_stays_dismissed(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("Away with this.")
    page.keyboard.press("Alt+x")
    page.locator("#undo [data-dismiss]").click()
    expect(page.locator("#undo")).to_be_hidden()
    alice.reload()
    expect(page.locator(".conversation").first).to_be_visible()
    expect(page.locator("#undo")).to_be_hidden()


def test_with_the_sidebar_folded_a_toast_offers_the_undo(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("Folded away.")
    page.keyboard.press("Alt+b")
    page.keyboard.press("Alt+x")
    expect(page.locator("#toast")).to_be_visible()
    page.locator("#toast [data-undo]").click()
    expect(page.locator(".message.user .content")).to_have_text("Folded away.")
    page.keyboard.press("Alt+b")


def test_asking_on_where_another_tab_deleted_keeps_the_question(visit):
    alice = visit()
    alice.ask_and_wait("Shared by two tabs.")
    other = visit(f"/c/{alice.conversation}/", sockets=True)
    expect(other.page.locator(".message.user")).to_be_visible()
    other.cut()  # it has not heard yet
    alice.page.keyboard.press("Alt+x")
    expect(alice.page.locator("#undo")).to_be_visible()
    other.ask("Is this lost?")
    other.mend()
    expect(other.page.locator("#text")).to_have_value("Is this lost?", timeout=20_000)
    other.complaints = [text for text in other.complaints if "404" not in text]  # it is gone
    assert alice.query("SELECT id FROM chat_message WHERE text = ?", "Is this lost?") == []


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
    page.fill("#search", "HAY needle")
    expect(found.locator(".snippet mark")).to_have_text(["Needle", "hay"])
    page.fill("#search", "1 day")
    expect(page.locator(".conversation .name mark").first).to_have_text("Day")
    page.fill("#search", "no such words")
    expect(page.locator("#no-conversations")).to_have_text("Nothing found.")
    page.fill("#search", "rating:down")
    expect(page.locator("#search-problem")).to_contain_text("Unknown operator rating:")


def test_the_list_is_grouped_by_day_and_grows_as_one_scrolls(visit, rows):
    page = visit().page
    headings = page.locator("#conversations h2")
    expect(headings.first).to_have_text("Today")
    expect(headings.nth(1)).to_have_text("Yesterday")
    expect(headings.nth(2)).to_have_text("Last seven days")
    first = page.locator(".conversation").count()
    assert first < 90
    names: list[str] = []
    for _ in range(60):
        for name in page.locator(".conversation .name", has_text="Day").all_inner_texts():
            if name not in names:
                names.append(name)
        page.locator("#conversations").evaluate("list => list.scrollBy(0, 300)")
        page.wait_for_timeout(80)
        if "Day 89" in names:
            break
    assert names == [f"Day {day:02d}" for day in range(90)]
    assert page.locator(".conversation").count() < 60  # the rows in sight, and some around them


def test_arrows_and_enter_work_in_the_search_field(visit, rows):
    page = visit().page
    found = page.request.get("/conversations/?q=day&limit=40").json()["items"]
    titles = [item["title"] for item in found]  # other tests may have moved one to the front
    page.keyboard.press("Alt+k")
    page.keyboard.type("day")
    page.keyboard.press("ArrowDown")  # before the pause after which it is searched
    expect(page.locator(".conversation a").first).to_be_focused()
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    focused = page.locator(".conversation a:focus .name")
    expect(focused).to_have_text(titles[30])
    expect(focused).to_be_in_viewport()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".conversation a:focus .name")).to_have_text(titles[29])
    page.keyboard.press("Alt+k")
    page.keyboard.type("needle")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("Day 71")


TREE = """
import uuid
from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
alice = User.objects.get(username="sidebar")
talk = Conversation.objects.create(owner=alice, title="Long tree")
parent = hidden = None
for number in range(80):
    role = "assistant" if number % 2 else "user"
    if number == 7:
        hidden = Message.objects.create(
            conversation=talk, parent=parent, role=role, author=alice, finish_reason="stop",
            text="An other version, with a **Quokká** in bold " + "and more " * 30)
    text = "the Wombat stands here" if number == 6 else f"Line {number}. " + "filler " * 60
    parent = Message.objects.create(
        conversation=talk, parent=parent, role=role, text=text, author=alice,
        finish_reason="stop" if number % 2 else "")
talk.active_leaf = parent
talk.save()
print(talk.id)
"""


@pytest.fixture(scope="module")
def tree(stack, person) -> str:
    return stack.python(TREE).strip().splitlines()[-1]


HIGHLIGHTED = "() => [...(CSS.highlights.get('hit') ?? [])].map(range => range.toString())"


def test_a_hit_opens_at_its_message_with_the_words_marked(visit, tree):
    page = visit().page
    page.fill("#search", "wombat")
    page.keyboard.press("Enter")
    hit = page.locator(".message", has_text="the Wombat stands here")
    expect(hit).to_be_in_viewport()
    page.wait_for_function(f"({HIGHLIGHTED})().length > 0")
    assert page.evaluate(HIGHLIGHTED) == ["Wombat"]
    page.wait_for_timeout(400)
    expect(hit).to_be_in_viewport()  # and stays there


def test_a_hit_in_a_branch_that_is_not_shown_is_shown(visit, tree):
    page = visit().page
    page.fill("#search", "quokka")
    expect(page.locator(".conversation .snippet mark")).to_have_text("Quokká")
    page.locator(".conversation a").first.click()
    hit = page.locator(".message", has_text="Quokká")
    expect(hit).to_be_in_viewport()
    page.wait_for_function(f"({HIGHLIGHTED})().length > 0")
    assert page.evaluate(HIGHLIGHTED) == ["Quokká"]
    assert page.url.endswith(f"/c/{tree}/")


def test_history_leads_to_the_message_too(visit, tree):
    page = visit().page
    page.goto("/history/?q=wombat")
    page.locator(".history-table tbody .title > a").first.click()
    page.wait_for_url("**/c/**", timeout=20_000)
    hit = page.locator(".message", has_text="the Wombat stands here")
    expect(hit).to_be_in_viewport()
    page.wait_for_function(f"({HIGHLIGHTED})().length > 0")
    assert page.url.endswith(f"/c/{tree}/")  # the words stay out of the address


MANY = """
from datetime import timedelta
from django.utils import timezone
from chatsite.accounts.models import User
from chatsite.chat.models import Conversation
many = User.objects.create_user("many", password="a long pass phrase")
now = timezone.now()
Conversation.objects.bulk_create(
    Conversation(owner=many, title=f"Talk {n:04d}", updated_at=now - timedelta(hours=n))
    for n in range(2000))
"""

FRAMES = """async (list) => {
    for (let n = 0; n < 60; n++) {
        list.scrollBy(0, n % 2 ? 700 : 90);
        await new Promise(requestAnimationFrame);
    }
}"""


def test_2000_conversations_stay_cheap(visit, stack, browser):
    stack.python(MANY)
    context = browser.new_context(base_url=stack.url)
    page = context.new_page()
    page.goto("/accounts/sign-in/")
    page.fill("[name=username]", "many")
    page.fill("[name=password]", "a long pass phrase")
    page.click("button.primary")
    conversations = page.locator("#conversations")
    expect(page.locator(".conversation").first).to_be_visible()
    for _ in range(80):  # 40 a request, as one scrolls
        conversations.evaluate("list => list.scrollTo(0, list.scrollHeight)")
        page.wait_for_timeout(60)
        if page.locator(".conversation", has_text="Talk 1999").count():
            break
    expect(page.locator(".conversation", has_text="Talk 1999")).to_be_visible()
    assert page.locator("#conversations *").count() < 800
    conversations.evaluate("list => list.scrollTo(0, 0)")
    page.wait_for_timeout(200)
    client = context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})  # others may load the machine

    def spent_ms() -> float:
        metrics = {m["name"]: m["value"] for m in client.send("Performance.getMetrics")["metrics"]}
        names = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
        return 1000 * sum(metrics[name] for name in names)

    before = spent_ms()
    conversations.evaluate(FRAMES)
    a_frame = (spent_ms() - before) / 60
    print(f"2,000 conversations: {a_frame:.2f} ms script, style and layout a frame")
    context.close()
    assert a_frame < 8
