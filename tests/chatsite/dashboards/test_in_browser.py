"""The pages in a real Chromium, under the site's own Content-Security-Policy."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.staticfiles.handlers import StaticFilesHandlerMixin
from django.core.cache import cache
from playwright.sync_api import Browser, Page, expect, sync_playwright

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation
from tests.chatsite.dashboards import rows
from tests.chatsite.dashboards.test_history import talk
from tests.support.chromium import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium; install it, e.g. apt install chromium"
    ),
    pytest.mark.usefixtures("live_redis"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A signed-in page that remembers whatever the browser complained about."""

    def __init__(self, browser: Browser, url: str, client, **options) -> None:
        context = browser.new_context(base_url=url, **options)
        cookie = client.cookies["sessionid"]
        context.add_cookies([{"name": "sessionid", "value": cookie.value, "url": url}])
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda said: said.type in ("error", "warning") and self.complaints.append(said.text),
        )


@pytest.fixture
def visit(browser, live_server, signed_in, monkeypatch):
    # The site's own middleware serves static files, by hashed names; the test server's would not.
    monkeypatch.setattr(StaticFilesHandlerMixin, "_should_handle", lambda self, path: False)
    visits: list[Visit] = []

    def go(user, **options) -> Visit:
        visits.append(Visit(browser, live_server.url, signed_in(user), **options))
        return visits[-1]

    yield go
    for visit in visits:
        visit.page.context.close()


@pytest.fixture
def dana():
    return User.objects.create_user("dana", is_staff=True, is_superuser=True)


@pytest.fixture
def alice():
    return User.objects.create_user("alice")


def test_the_board_draws_zooms_and_opens_a_request_without_a_complaint(dana, visit):
    rows.many(120, days=0.9)
    there = visit(dana)
    page = there.page
    page.goto("/admin/latency/")
    expect(page.locator(".board")).to_have_attribute("data-drawn", "true")
    assert page.locator("canvas").count() == 3

    box = page.locator("#ttft-chart .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 40, steps=4)
    with page.expect_navigation(url="**since=*"):
        page.mouse.up()
    assert "until=" in page.url
    expect(page.locator("#live")).to_be_disabled()

    page.goto("/admin/latency/")
    page.locator('[data-live="slowest"] a').first.click()
    expect(page.locator(".board")).to_have_attribute("data-drawn", "true")
    assert page.locator(".waterfall .phase-decode").first.bounding_box()["width"] > 100
    assert page.locator("#itl-chart canvas").count() == 1
    assert there.complaints == []


def test_the_board_refreshes_in_place(dana, visit):
    rows.generation().save(force_insert=True)
    there = visit(dana)
    page = there.page
    page.clock.install()
    page.goto("/admin/latency/")
    expect(page.locator(".board")).to_have_attribute("data-drawn", "true")
    requests = page.locator('[data-live="tiles"] .tile .big').first
    expect(requests).to_have_text("1")
    page.evaluate("window.isTheSamePage = true")

    rows.generation(random.Random(2)).save(force_insert=True)
    cache.clear()
    page.clock.run_for(16_000)
    expect(requests).to_have_text("2")
    assert page.evaluate("window.isTheSamePage")
    assert there.complaints == []


def test_a_chart_that_fails_says_so_and_leaves_the_others_alone(dana, visit):
    rows.many(60, days=0.9)
    there = visit(dana)
    page = there.page
    page.clock.install()
    broken = True

    def answer(route):
        reply = route.fetch()
        board = reply.json()
        if broken:
            del board["series"]["tpot_p95_ms"]
        route.fulfill(response=reply, json=board)

    page.route("**/admin/latency/data/*", answer)
    page.goto("/admin/latency/")
    expect(page.locator("#tpot-chart")).to_contain_text("These figures didn’t come")
    for name in ("ttft", "phases"):
        expect(page.locator(f"#{name}-chart canvas")).to_be_visible()
    page.locator("#live").uncheck()
    broken = False
    page.clock.run_for(16_000)  # what didn't come is asked for all the same
    expect(page.locator("#tpot-chart canvas")).to_be_visible()
    broken = True
    page.locator("#live").check()
    page.clock.run_for(16_000)
    expect(page.locator("#tpot-chart")).to_contain_text("Asked again in 15 s.")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#ttft-chart canvas")).to_be_visible()
    expect(page.locator("#tpot-chart canvas")).to_have_count(0)
    assert there.complaints == []


def test_the_board_says_that_the_disk_is_low_until_there_is_space(dana, visit, monkeypatch):
    there = visit(dana)
    page = there.page
    page.clock.install()
    page.goto("/admin/latency/")
    expect(page.locator(".board")).to_have_attribute("data-drawn", "true")
    said = page.locator('[data-live="disk"]')
    expect(said).to_be_hidden()
    for free, is_said in ((50_000_000, True), (5_000_000_000, False)):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free)
        )
        page.clock.run_for(16_000)
        expect(said).to_be_visible(visible=is_said)
    assert there.complaints == []


def test_a_board_over_no_requests_says_so_in_its_charts(dana, visit):
    there = visit(dana)
    there.page.goto("/admin/latency/")
    expect(there.page.locator("#ttft-chart")).to_have_text("no data")
    assert there.page.locator("canvas").count() == 0
    assert there.complaints == []


def test_alice_renames_and_deletes_in_the_table(alice, visit):
    talk(alice, "Old name", "text")
    talk(alice, "Another", "text")
    there = visit(alice)
    page = there.page
    page.goto("/history/")
    page.get_by_role("button", name="Rename Old name").click()
    page.locator('form.rename:visible [name="title"]').fill("New name")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="New name")).to_be_visible()

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_label("Choose New name").check()
    page.get_by_role("button", name="Delete chosen").click()
    expect(page.get_by_text("1 conversation", exact=True)).to_be_visible()
    assert [c.title for c in Conversation.objects.all()] == ["Another"]
    assert there.complaints == []


def test_a_deletion_can_be_undone_also_after_a_reload(alice, visit):
    talk(alice, "Kept", "text")
    page = visit(alice).page
    page.goto("/history/")
    page.get_by_role("button", name="Delete Kept").click()
    expect(page.get_by_role("link", name="Kept")).to_have_count(0)
    page.reload()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="Kept")).to_be_visible()


def test_on_a_phone_the_admins_fields_keep_off_the_edges(dana, visit):
    page = visit(dana, viewport={"width": 390, "height": 844}).page
    page.goto("/admin/catalog/samplingpreset/add/")
    for name in ("name", "description", "temperature", "stop"):
        panel = page.locator("fieldset", has=page.locator(f"#id_{name}")).bounding_box()
        field = page.locator(f"#id_{name}").bounding_box()
        assert field["x"] >= panel["x"] + 12, name
        assert field["x"] + field["width"] <= panel["x"] + panel["width"] - 12, name
    expect(page.locator(".site-nav [aria-current=page]")).to_have_text("Administration")


PAGES = (
    "/admin/", "/admin/latency/", "/admin/workers/", "/admin/catalog/samplingpreset/",
    "/admin/catalog/samplingpreset/add/", "/history/?q=word",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_no_page_is_wider_than_a_phone(dana, visit, scheme):
    rows.many(30, days=0.5)
    talk(dana, "Long title " * 9, "a word here", state="failed")
    page = visit(dana, color_scheme=scheme, bypass_csp=True).page  # axe itself is injected
    detail = f"/admin/latency/requests/{rows.recovered(random.Random(8)).pk}/"
    for url in (*PAGES, detail) if scheme == "light" else (PAGES[1], detail, PAGES[-1]):
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, url
        page.set_viewport_size({"width": 1440, "height": 900})
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(url, v["id"], v["nodes"][0]["html"]) for v in serious] == []
