"""A signed-in person in a real Chromium, in front of the whole site as processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.visit import Visit, add_presets, signed_in
from tests.support.chromium import CHROMIUM
from tests.support.stack import Stack

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Ends with these tests: while it runs, its event loop runs in the main thread of the tests."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium; install it, e.g. apt install chromium")
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def presets(stack: Stack) -> None:
    add_presets(stack)


@pytest.fixture(scope="package")
def sign_in(stack: Stack, browser: Browser, presets: None) -> Callable[[str], Any]:
    """A new person's browser state."""
    return lambda name: signed_in(stack, browser, name)


@pytest.fixture(scope="module")
def person(sign_in: Callable[[str], Any], request: pytest.FixtureRequest) -> Any:
    """This module's own person: nobody else's conversations are in the list."""
    return sign_in(request.module.__name__.rsplit("_", 1)[-1])


@pytest.fixture
def visit(stack: Stack, browser: Browser, person: Any) -> Iterator[Callable[..., Visit]]:
    """Open the chat in a window of its own. Whatever a page complains about fails the test."""
    visits: list[Visit] = []

    def go(path: str = "/", *, sockets: bool = False, **options: Any) -> Visit:
        visits.append(Visit(stack, browser, person, path, holds_sockets=sockets, **options))
        return visits[-1]

    yield go
    for made in visits:
        made.page.context.close()
    assert [text for made in visits for text in made.complaints] == []
