"""A text that was typed has one owner until the site has it: nothing is lost, and nothing is mixed."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.visit import PASSWORD, Visit
from tests.support.stack import Stack

SEEDS = (1, 2, 3)
SECONDS = 12
AGREE_SECONDS = 3  # each process of a browser has its own copy of the storage
WORD = re.compile(r"\bw\d+x\d+z\b")

KEPT = """() => Object.entries(localStorage).filter(([key]) => /^(draft|outbox):/.test(key)).map(([, text]) => text)"""


@pytest.fixture
def window(visit: Callable[..., Any]) -> Any:
    """One browser with as many pages as wanted: they share what browsers keep for a site."""
    return visit()


@pytest.fixture
def own_window(
    stack: Stack, browser: Browser, sign_in: Callable[[str], Any], request: pytest.FixtureRequest
) -> Iterator[Any]:
    """As `window`, of a person whose sessions nobody else's test needs."""
    name = re.sub(r"\W+", "-", request.node.name)[-40:].strip("-")
    window = Visit(stack, browser, sign_in(name), "/")
    window.name = name
    yield window
    window.page.context.close()
    assert window.complaints == []


def open_page(context: BrowserContext, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(path)
    expect(page.locator("body.connected")).to_be_visible(timeout=20_000)
    return page


def text_of(page: Page) -> str:
    return page.input_value("#text")


def test_another_version_of_a_question_survives_reload_leaving_and_esc(window: Any) -> None:
    page = window.page
    window.ask_and_wait("What is a lamp?")
    path = page.url
    page.keyboard.press("ArrowUp")
    page.keyboard.insert_text(" Rewritten")
    window.reload()
    expect(page.locator("#text")).to_have_value("What is a lamp? Rewritten")
    expect(page.locator("#editing")).to_be_visible()
    expect(page.locator(".message.user.edited")).to_be_visible()
    page.keyboard.press("Alt+n")
    expect(page.locator("#text")).to_have_value("")
    page.goto(path)
    expect(page.locator("#text")).to_have_value("What is a lamp? Rewritten")
    page.keyboard.press("Escape")
    expect(page.locator("#text")).to_have_value("")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#text")).to_have_value("What is a lamp? Rewritten")
    page.keyboard.press("Enter")
    expect(page.locator(".message.user .siblings")).to_contain_text("2 / 2")
    window.wait_for_end()
    window.reload()
    expect(page.locator("#text")).to_have_value("")


def test_two_tabs_have_a_draft_of_their_own_and_a_closed_tabs_is_offered_again(window: Any) -> None:
    first = window.page
    first.fill("#text", "A draft that must survive")
    second = open_page(first.context)
    second.fill("#text", "Another tab's text")
    window.reload()
    expect(first.locator("#text")).to_have_value("A draft that must survive")
    first.close()
    third = open_page(second.context)
    expect(third.locator("#text")).to_have_value("A draft that must survive")
    expect(second.locator("#text")).to_have_value("Another tab's text")
    for page in (second, third):
        page.fill("#text", "")


def test_what_a_closed_tab_had_not_sent_is_sent_by_another(visit: Callable[..., Any]) -> None:
    alice = visit(sockets=True)
    alice.cut()
    alice.ask("Said in a tunnel?")
    expect(alice.page.locator(".assistant .phase")).to_contain_text("waiting for the connection")
    context = alice.page.context
    alice.page.close()
    alice.page = context.new_page()
    alice.is_cut = False
    alice.page.goto("/")
    alice.page.fill("#text", "Something else, meanwhile")
    alice.page.locator(".conversation a", has_text="Said in a tunnel?").click()
    alice.wait_for_end()
    alice.page.keyboard.press("Alt+n")
    expect(alice.page.locator("#text")).to_have_value("Something else, meanwhile")
    alice.page.fill("#text", "")
    alice.page.locator(".conversation a", has_text="Said in a tunnel?").click()
    assert [row["text"] for row in alice.stored() if row["role"] == "user"] == ["Said in a tunnel?"]


def test_a_conversation_deleted_elsewhere_leaves_its_text_in_a_new_chat(
    visit: Callable[..., Any],
) -> None:
    alice, other = visit(), visit()
    alice.ask_and_wait("What is a saw?")
    alice.page.fill("#text", "And a hammer?")
    path = f"/conversations/{alice.conversation}/delete/"
    other.page.evaluate(
        """path => fetch(path, { method: "POST", body: "{}", headers: { "Content-Type": "application/json",
            "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value } })""",
        path,
    )
    expect(alice.page.locator("#note")).to_contain_text("was deleted")
    expect(alice.page.locator("#text")).to_have_value("And a hammer?")
    alice.page.fill("#text", "")


def test_a_session_that_ends_is_told_over_the_page_and_typing_goes_on(own_window: Any) -> None:
    page = own_window.page
    page.focus("#text")
    page.keyboard.insert_text("Half a ")
    sign_out(page)
    expect(page.get_by_role("alertdialog")).to_contain_text("Your session has ended")
    page.keyboard.insert_text("thought")
    expect(page.locator("#text")).to_have_value("Half a thought")
    page.get_by_role("link", name="Sign in").click()
    sign_in_again(page, own_window)
    expect(page.locator("#text")).to_have_value("Half a thought")
    page.fill("#text", "")


def sign_out(page: Page) -> None:
    page.evaluate(
        """() => fetch("/accounts/sign-out/", { method: "POST", body: new URLSearchParams({
            csrfmiddlewaretoken: document.querySelector("[name=csrfmiddlewaretoken]").value }) })"""
    )


def sign_in_again(page: Page, window: Any) -> None:
    page.fill("[name=username]", window.name)
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")
    expect(page.locator("body.connected")).to_be_visible(timeout=20_000)


def test_the_enter_that_confirms_a_candidate_never_sends(window: Any) -> None:
    page = window.page
    page.fill("#text", "にほん")
    page.evaluate(
        """() => {
            const text = document.getElementById("text");
            const press = (options) => text.dispatchEvent(new KeyboardEvent("keydown",
                { key: "Enter", bubbles: true, cancelable: true, ...options }));
            press({ isComposing: true, keyCode: 229 });
            text.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true, data: "日本" }));
            press({ keyCode: 229 });  // Safari's order
        }"""
    )
    page.wait_for_timeout(200)
    expect(page.locator("#text")).to_have_value("にほん")
    expect(page.locator(".message")).to_have_count(0)
    page.fill("#text", "")


def test_with_a_coarse_pointer_enter_breaks_the_line(visit: Callable[..., Any]) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).page
    page.locator("#text").press_sequentially("One")
    page.keyboard.press("Enter")
    page.locator("#text").press_sequentially("two")
    expect(page.locator("#text")).to_have_value("One\ntwo")
    expect(page.locator(".message")).to_have_count(0)
    page.fill("#text", "")


class Writer:
    """Somebody with two pages who does things in any order, and what must be true after each."""

    def __init__(self, window: Any, seed: int) -> None:
        self.window, self.seed, self.random = window, seed, random.Random(seed)
        self.context = window.page.context
        self.pages = [window.page, open_page(self.context)]
        self.typed: dict[str, str] = {}  # word → the conversation's path where it was typed
        self.log: list[str] = []

    def step(self) -> None:
        at = self.random.randrange(2)
        page = self.pages[at]
        acts = (
            [self.types] * 5 + [self.sends] * 2 + [self.edits] * 2 + [self.leaves_edit]
            + [self.moves] * 3 + [self.reloads, self.closes] + [self.session_ends]
        )  # fmt: skip
        act = self.random.choice(acts)
        self.log.append(f"{act.__name__} {at} {page.url.rsplit('/', 2)[-2][:8]}")
        act(page, at)
        self.check()

    def types(self, page: Page, at: int) -> None:
        word = f"w{self.seed}x{len(self.log)}z"
        page.focus("#text")
        page.keyboard.press("Control+End")
        page.keyboard.insert_text(f" {word}")
        if word in text_of(page):
            self.typed[word] = page.evaluate("location.pathname")

    def sends(self, page: Page, at: int) -> None:
        page.select_option("#preset", "brief")
        page.press("#text", "Enter")

    def edits(self, page: Page, at: int) -> None:
        page.evaluate(
            "[...document.querySelectorAll('.message.user [data-do=edit]')].at(-1)?.click()"
        )

    def leaves_edit(self, page: Page, at: int) -> None:
        page.press("#text", "Escape")

    def moves(self, page: Page, at: int) -> None:
        links = page.locator(".conversation a")
        number = self.random.randrange(4)
        if number < links.count():
            links.nth(number).evaluate("link => link.click()")
        else:
            page.keyboard.press("Alt+n")

    def reloads(self, page: Page, at: int) -> None:
        page.reload()
        expect(page.locator("body.connected")).to_be_visible(timeout=20_000)

    def closes(self, page: Page, at: int) -> None:
        path = page.evaluate("location.pathname")
        page.close()
        self.pages[at] = open_page(self.context, path)

    def session_ends(self, page: Page, at: int) -> None:
        sign_out(page)
        page.goto(f"/accounts/sign-in/?next={page.evaluate('location.pathname')}")
        sign_in_again(page, self.window)
        other = self.pages[1 - at]
        other.reload()
        expect(other.locator("body.connected")).to_be_visible(timeout=20_000)

    def stored(self) -> list[dict[str, Any]]:
        return self.window.query(
            "SELECT text, conversation_id FROM chat_message WHERE role = 'user'"
        )

    def check(self) -> None:
        """Every text is somewhere, now or as soon as the browser's processes agree on their storage."""
        until = time.monotonic() + AGREE_SECONDS
        while (lost := set(self.typed) - self.found()) and time.monotonic() < until:
            self.pages[0].wait_for_timeout(50)
        assert not lost, (lost, "\n".join(self.log))
        for row in self.stored():
            places = {self.typed[w] for w in WORD.findall(row["text"]) if w in self.typed}
            homes = {place.replace("-", "").split("/")[2] for place in places if place != "/"}
            assert homes <= {row["conversation_id"]}, f"{row} {places}\n" + "\n".join(self.log)

    def found(self) -> set[str]:
        kept = [text_of(page) for page in self.pages] + self.pages[0].evaluate(KEPT)
        rows = self.stored()  # read last: what leaves the outbox is stored before
        return set(WORD.findall(" ".join([*kept, *(row["text"] for row in rows)])))

    def check_that_all_is_offered_again(self) -> None:
        """Close everything, and open every place until each word has been seen."""
        last = self.pages[0]
        paths = [
            "/",
            *last.locator(".conversation a").evaluate_all("all => all.map(a => a.pathname)"),
        ]
        keeper = self.context.new_page()  # so that the browser stays
        keeper.goto("/accounts/password/")
        for page in self.pages:
            page.close()
        seen: list[str] = []
        for path in paths:
            while offered := self.taken_from(path):
                seen += offered
        rows = [row["text"] for row in self.stored()]
        missing = set(self.typed) - set(WORD.findall(" ".join(seen + rows)))
        # Versions of questions are offered by the question's own button, in whatever branch it is.
        kept = keeper.evaluate(
            "() => Object.entries(localStorage).filter(([key]) => key.startsWith('draft:'))"
        )
        for key, text in kept:
            message = key.split(":")[3]
            if message != "question" and self.window.query(
                "SELECT id FROM chat_message WHERE id = ?", message.replace("-", "")
            ):
                missing -= set(WORD.findall(text))
        assert not missing, (missing, kept, self.log)
        self.window.page = keeper

    def taken_from(self, path: str) -> list[str]:
        """What a window that opens this place is offered; it is taken, so that the next one is."""
        page = open_page(self.context, path)
        page.wait_for_timeout(600)  # the other windows are asked what they hold
        offered = [text_of(page)]
        page.press("#text", "Escape")  # an edit that was open: what lies below it
        offered.append(text_of(page))
        page.evaluate(
            "[...document.querySelectorAll('.message.user [data-do=edit]')].at(-1)?.click()"
        )
        page.wait_for_timeout(600)
        offered.append(text_of(page))
        page.press("#text", "Escape")
        page.fill("#text", "")
        page.close()
        return [text for text in offered[:2] if text] and offered


@pytest.mark.parametrize("seed", SEEDS)
def test_no_typed_text_is_lost_or_mixed_whatever_one_does_in_two_pages(
    own_window: Any, seed: int
) -> None:
    writer = Writer(own_window, seed)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        writer.step()
    print(len(writer.log), "steps,", len(writer.typed), "texts")
    writer.check_that_all_is_offered_again()
