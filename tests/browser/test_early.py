"""The page before its modules are there, its files, and the reader's clock."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.visit import PASSWORD


def test_an_enter_before_the_modules_are_there_is_sent(visit, stack, browser, person):
    context = browser.new_context(base_url=stack.url, storage_state=person)
    page = context.new_page()
    held = []
    page.route(
        re.compile(r"/static/js/chat/(?!early-enter)"),
        lambda route: held.append(route) if held is not None else route.continue_(),
    )
    page.goto("/", wait_until="commit")
    page.wait_for_selector("#text")
    page.focus("#text")
    page.keyboard.type("Was this lost?")
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value("Was this lost?")  # no line break, no reload
    held, waiting = None, held
    for route in waiting:
        route.continue_()
    expect(page.locator(".message.user .content")).to_have_text("Was this lost?", timeout=20_000)
    expect(page.locator("#text")).to_have_value("")
    page.wait_for_url("**/c/*/")
    context.close()


def test_the_page_asks_for_hashed_files_alone_and_a_second_visit_for_none(
    visit, stack, browser, person
):
    context = browser.new_context(base_url=stack.url, storage_state=person)
    page = context.new_page()
    sizes: list[tuple[str, int]] = []
    page.on(
        "requestfinished",
        lambda request: sizes.append((request.url, request.sizes()["responseBodySize"])),
    )
    page.goto("/")
    expect(page.locator("body.connected")).to_be_visible(timeout=20_000)
    files = [(url, size) for url, size in sizes if "/static/" in url]
    assert len(files) > 20
    assert [url for url, _ in files if not re.search(r"\.[0-9a-f]{12}\.\w+$", url)] == []
    total = sum(size for _, size in files)
    print(f"first page: {len(files)} files, {total / 1000:.0f} KB")
    assert total < 200_000
    sizes.clear()
    page.reload()
    expect(page.locator("body.connected")).to_be_visible(timeout=20_000)
    fetched = [url for url, size in sizes if "/static/js/" in url and size > 0]
    assert fetched == []  # all from the cache
    context.close()


def test_times_are_the_readers_from_the_first_page_on(stack, browser, presets):
    stack.add_user("rio", password=PASSWORD)
    stack.python(
        "import datetime as dt\n"
        "from chatsite.accounts.models import User\n"
        "from chatsite.chat.models import Conversation\n"
        "rio = User.objects.get(username='rio')\n"
        "Conversation.objects.create(owner=rio, title='Late', updated_at="
        "dt.datetime(2026, 11, 26, 1, 30, tzinfo=dt.UTC))\n"
    )
    context = browser.new_context(base_url=stack.url, timezone_id="America/Sao_Paulo")
    page = context.new_page()
    page.goto("/accounts/sign-in/")
    page.fill("[name=username]", "rio")
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")
    page.wait_for_selector("#text")
    context.clear_cookies(name="zone")  # as one who was signed in before the site asked for it
    page.goto("/history/?after=2026-11-25&before=2026-11-25")
    expect(page.locator("tbody time")).to_have_text("2026-11-25 22:30")
    context.close()
