"""The site whose parts are stopped, with the bounds that a site has by default."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.visit import signed_in
from tests.support.stack import Stack


@pytest.fixture(scope="package")
def stack(default_bounds_stack: Stack) -> Stack:
    return default_bounds_stack


@pytest.fixture(scope="module")
def person(stack: Stack, browser: Browser, request: pytest.FixtureRequest) -> Any:
    return signed_in(stack, browser, request.module.__name__.rsplit("_", 1)[-1])
