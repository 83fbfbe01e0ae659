"""In Portuguese no page says an English sentence, and the language is chosen where people look."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandlerMixin
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from inference.contract import ErrorCode
from tests.chatsite.dashboards import rows
from tests.chatsite.dashboards.test_history import talk
from tests.support import catalogue
from tests.support.chromium import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium; install it, e.g. apt install chromium"
    ),
    pytest.mark.usefixtures("live_redis"),
]

PHONE = {"width": 390, "height": 844}
SAID = """() => {
    const texts = [];
    const read = (root) => {
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
        for (let node = walker.currentNode; node; node = walker.nextNode()) {
            if (node instanceof Text) {
                // What people wrote, and what the model did, is in a language of its own.
                if (!node.parentElement?.closest("script, style, code, .message .content, .name")) texts.push(node.data);
            } else if (node instanceof Element && !node.matches("#changelist-search img")) { // Django's own
                for (const { name, value } of node.attributes) {
                    const isForPeople = /^(title|alt|placeholder|aria-label|label)$/.test(name);
                    if (isForPeople || (name.startsWith("data-") && value.includes(" "))) texts.push(value);
                }
                if (node instanceof HTMLTemplateElement) read(node.content);
            }
        }
    };
    read(document);
    return texts.map((text) => text.replace(/\\s+/g, " ").trim()).filter(Boolean);
}"""
"""Every text of the page and what its attributes say, also what isn't shown yet."""


def english() -> tuple[set[str], list[str]]:
    """Whole strings that aren't Portuguese, and parts by which a filled-in sentence is known."""
    entries = list(catalogue.translations())
    portuguese = {text for entry in entries for text in catalogue.texts_of(entry)}
    whole = {entry.msgid.replace("%%", "%") for entry in entries} - portuguese
    longest = (max(re.split(r"%\(\w+\)s|%[sd]|\{\w+\}|<.*?>", t), key=len).strip() for t in whole)
    return whole, sorted({part for part in longest if len(part) > 11 and " " in part})


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def window(browser: Browser, live_server: Any, monkeypatch: Any) -> Iterator[Callable[..., Page]]:
    """Open a window, signed in as the person of that client."""
    # The site's own middleware serves static files, by hashed names; the test server's would not.
    monkeypatch.setattr(StaticFilesHandlerMixin, "_should_handle", lambda self, path: False)
    contexts = []

    def open_window(client: Client | None = None, **options: Any) -> Page:
        context = browser.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        if client is not None:
            cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value}
            context.add_cookies([{**cookie, "url": live_server.url}])
        return context.new_page()

    yield open_window
    for context in contexts:
        context.close()


@pytest.fixture
def dana() -> User:
    """An administrator with requests of every kind and a conversation."""
    dana = User.objects.create_user("dana", is_staff=True, is_superuser=True)
    rows.many(60, days=0.9)
    rows.failed(random.Random(3), user=dana).save(force_insert=True)
    talk(dana, "Água", "H2O.", state="length", tokens=40)
    return dana


def addresses(dana: User) -> Iterator[str]:
    """Every page of the site, those of single things with one of each kind."""
    conversation = dana.conversations.get()
    yield from (f"/c/{conversation.pk}/", "/", "/accounts/password/", "/no/such/page/")
    answer = conversation.messages.get(role="assistant")
    yield f"/inspect/{answer.pk}/"
    yield from (
        "/history/",
        "/history/?q=fish:x&state=failed&after=2&sort=-ttft",
        "/settings/keys/",
    )
    yield from ("/admin/", "/admin/workers/", "/admin/latency/", "/admin/latency/?since=never")
    for request in (rows.recovered(random.Random(5), user=dana), rows.failed(random.Random(6))):
        request.save()
        yield f"/admin/latency/requests/{request.pk}/"
    for kind in ("accounts/user", "accounts/invitation", "api/apikey", "chat/conversation"):
        yield f"/admin/{kind}/"
    for kind in ("catalog/languagemodel", "catalog/samplingpreset", "accounts/invitation"):
        yield from (f"/admin/{kind}/", f"/admin/{kind}/add/")
    yield f"/admin/catalog/languagemodel/{LanguageModel.objects.get().pk}/change/"
    yield f"/admin/catalog/samplingpreset/{SamplingPreset.objects.first().pk}/history/"
    yield from ("/admin/metrics/generation/", f"/admin/chat/conversation/{conversation.pk}/change/")


def test_no_page_says_an_english_sentence(
    dana: User, window: Callable[..., Page], signed_in: Callable[[User], Client]
) -> None:
    page = window(signed_in(dana), locale="pt-BR")
    whole, parts = english()
    # Codes, and what is stored and edited in the admin: the words of a new site's presets.
    whole -= set(ErrorCode)
    for kind in (LanguageModel, SamplingPreset):
        for row in kind.objects.all():
            whole -= {row.name, row.description}
            parts = [part for part in parts if part not in row.description]
    found = []
    for address in addresses(dana):
        page.goto(address)
        assert page.locator("html").get_attribute("lang") == "pt-br", address
        for text in page.evaluate(SAID):
            if text in whole or any(part in text for part in parts):
                found.append((address, text))
    assert not found, "\n".join(map(" ".join, found))


@pytest.mark.parametrize(
    "path", ["/", "/history/", "/settings/keys/", "/accounts/password/", "/admin/latency/"]
)
def test_on_a_phone_the_longer_words_fit(
    path: str, dana: User, window: Callable[..., Page], signed_in: Callable[[User], Client]
) -> None:
    page = window(signed_in(dana), locale="pt-BR", viewport=PHONE)
    page.goto(path)
    expect(page.locator("main").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_somebody_chooses_the_language_before_coming_in_and_changes_it_in_the_chat(
    window: Callable[..., Page],
) -> None:
    User.objects.create_user("alice", password="a long pass phrase")
    page = window()
    page.goto("/accounts/sign-in/?next=/history/")
    page.get_by_role("button", name="Português").click()
    expect(page).to_have_url(re.compile(r"/accounts/sign-in/\?next=/history/$"))
    page.fill("[name=username]", "alice")
    page.fill("[name=password]", "a long pass phrase")
    page.get_by_role("button", name="Entrar").click()
    expect(page.get_by_role("heading", name="Histórico")).to_be_visible()

    page.goto("/")
    page.fill("#text", "uma ideia")
    page.locator(".account").click()
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("link", name="New chat").first).to_be_visible()
    expect(page.locator("#text")).to_have_value("uma ideia")  # drafts outlive the change
