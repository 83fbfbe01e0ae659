"""The Chromium that browser tests drive; scripts/ensure_chromium.sh looks for the same names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, sync_playwright

STATIC = Path(__file__).resolve().parents[2] / "static"
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def script_page() -> Iterator[Page]:
    """An empty page that can import the site's scripts by their paths under static/, without a site."""
    if CHROMIUM is None:
        pytest.skip("no Chromium; install it, e.g. apt install chromium")

    def serve(route: Route) -> None:
        path = STATIC / route.request.url.removeprefix("http://scripts.test/")
        if path.suffix == ".js":
            route.fulfill(path=path, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.route("**/*", serve)
        page.goto("http://scripts.test/")
        yield page
        browser.close()
