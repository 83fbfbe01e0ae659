"""The pages around the chat: coming in, one-time links, error pages, people in the admin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.stack import Stack

PASSWORD = "a long pass phrase"
REPORT = "addEventListener('securitypolicyviolation', e => console.error('CSP', e.blockedURI, e.violatedDirective))"


@pytest.fixture
def window(stack: Stack, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a window of a stranger. Errors and policy violations on its pages fail the test."""
    opened: list[Any] = []
    complaints: list[str] = []

    def open_window(**options: Any) -> Page:
        context = browser.new_context(base_url=stack.url, **options)
        opened.append(context)
        context.add_init_script(REPORT)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: _listen(said.type, said.text, complaints))
        return page

    yield open_window
    for context in opened:
        context.close()
    assert complaints == []


def _listen(kind: str, text: str, complaints: list[str]) -> None:
    is_expected = "the server responded with a status of 4" in text  # the page itself, asked for
    if kind in ("error", "warning") and not is_expected:
        complaints.append(text)


def fill_account_form(page: Page, name: str) -> None:
    page.fill("[name=username]", name)
    page.fill("[name=password1]", PASSWORD)
    page.fill("[name=password2]", PASSWORD)
    page.click("button.primary")


def test_a_person_comes_in_by_a_link_changes_the_password_and_goes(
    stack: Stack, window: Callable[..., Page]
) -> None:
    page = window()
    link = stack.manage("invite", "--url", stack.url).strip()
    page.goto(link)
    fill_account_form(page, "erin")
    expect(page.locator("#text")).to_be_visible()

    page.goto("/accounts/password/")
    page.fill("[name=old_password]", PASSWORD)
    for field in ("new_password1", "new_password2"):
        page.fill(f"[name={field}]", PASSWORD + " now")
    page.click("button.primary")
    expect(page.get_by_role("heading", name="Password changed")).to_be_visible()

    page.goto("/history/")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/accounts/sign-in/"))
    page.fill("[name=username]", "erin")
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")
    expect(page.get_by_text("Please enter a correct username and password")).to_be_visible()
    page.goto(link)
    expect(page.get_by_text("This link was used already")).to_be_visible()


def test_an_administrator_invites_and_no_page_breaks_the_policy(
    stack: Stack, window: Callable[..., Page]
) -> None:
    page = window()
    page.goto(stack.manage("invite", "--administrator", "--url", stack.url).strip())
    expect(page.get_by_text("This account will administer the site.")).to_be_visible()
    fill_account_form(page, "grace")
    expect(page.locator("#text")).to_be_visible()
    for path in ("user/", "user/add/", "user/1/password/", "invitation/"):
        assert page.goto(f"/admin/accounts/{path}").status == 200
    assert page.goto("/admin/password_change/").status == 200
    page.goto("/admin/accounts/invitation/add/")
    page.fill("[name=note]", "Heidi")
    page.click("[name=_save]")
    expect(page.locator(".messagelist")).to_contain_text(f"{stack.url}/accounts/invitation/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_doors_and_errors_are_readable_by_everybody(
    stack: Stack, window: Callable[..., Page], scheme: str
) -> None:
    page = window(
        color_scheme=scheme, viewport={"width": 390, "height": 844}, bypass_csp=True
    )  # axe itself is injected
    link = stack.manage("invite", "--url", stack.url).strip()
    for path, heading in (
        ("/accounts/sign-in/", "Sign in"),
        (link, "Make an account"),
        ("/accounts/sign-up/", "Not this way"),
        ("/no/such/page/", "There is nothing here"),
    ):
        page.goto(path)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")]
        assert serious == [], path
