"""The pages around the chat keep to the site's policy, and what is vendored is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"


@pytest.mark.parametrize("path", ["/history/?q=word", "/accounts/password/", "/settings/keys/"])
def test_other_pages_raise_no_complaint(visit, path):
    alice = visit()
    alice.page.goto(path)
    expect(alice.page.locator("h1").first).to_be_visible()


@pytest.mark.parametrize("path", ["/history/", "/settings/keys/"])
def test_on_a_phone_other_pages_fit_and_their_head_takes_two_lines(visit, path):
    alice = visit(viewport={"width": 390, "height": 844})
    alice.page.goto(path)
    assert alice.page.evaluate("document.documentElement.scrollWidth") <= 390
    head = alice.page.locator(".site-head").bounding_box()
    assert head and head["height"] < 100


def test_every_page_of_ones_own_has_the_same_head_and_says_where_one_is(visit):
    page = visit().page
    heads = set()
    for path, here in (("/history/", "History"), ("/settings/keys/", "API keys")):
        page.goto(path)
        expect(page.locator(".site-head [aria-current=page]")).to_have_text(here)
        words = page.locator(".site-head :is(a, button)").all_inner_texts()
        border = page.locator(".site-head button").evaluate("e => getComputedStyle(e).border")
        heads.add((*words, border))
    assert len(heads) == 1


def test_a_stranger_is_asked_to_sign_in_and_comes_back_to_where_he_wanted(browser, stack, person):
    context = browser.new_context(base_url=stack.url)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.goto("/history/")
    page.fill("[name=username]", "pages")
    page.fill("[name=password]", "a long pass phrase")
    page.click("button.primary")
    expect(page).to_have_url(f"{stack.url}/history/")
    assert complaints == []
    context.close()


def test_somebody_elses_conversation_is_a_page_that_is_not_there(visit, stack):
    alice = visit()
    alice.page.goto("/c/00000000-0000-4000-8000-000000000000/")
    expect(alice.page.locator("h1")).to_be_visible()
    alice.complaints.clear()  # the browser's own line about a 404


def test_every_vendored_file_is_in_the_manifest_with_its_licence():
    manifest = json.loads((VENDOR / "MANIFEST.json").read_text())
    named = {file for library in manifest.values() for file in library["files"]}
    there = {
        str(path.relative_to(VENDOR))
        for path in VENDOR.rglob("*")
        if path.is_file()
        and path.name not in ("MANIFEST.json", "LICENSE")
        and not path.name.endswith(".d.ts")  # types, of our own
    }
    assert named == there
    for library in manifest.values():
        assert library["version"] and library["licence"]
        assert (VENDOR / library["files"][0]).with_name("LICENSE").is_file()
