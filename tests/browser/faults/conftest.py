"""A site of this folder's own, whose parts are stopped, with the bounds that a site has by default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.visit import add_presets, signed_in
from tests.support.stack import Stack


@pytest.fixture(scope="package")
def stack(default_model_dir: Path) -> Iterator[Stack]:
    with Stack(environment={"CHATSITE_RECOVER_WITHIN_S": ""}) as running:
        add_presets(running)
        yield running


@pytest.fixture(scope="module")
def person(stack: Stack, browser: Browser, request: pytest.FixtureRequest) -> Any:
    return signed_in(stack, browser, request.module.__name__.rsplit("_", 1)[-1])
