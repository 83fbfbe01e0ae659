"""One answer under the glass, in a real browser: chosen anywhere, chosen everywhere; branched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.visit import Visit

QUESTION = "Name three rivers of France."


def opened(visit: Callable[..., Visit], **options: Any) -> tuple[Visit, Page]:
    """An answer of twelve tokens, with its Inspect page opened by its key."""
    alice = visit(**options)
    alice.ask_and_wait(QUESTION)
    alice.page.keyboard.press("Alt+i")
    shown(alice.page)
    return alice, alice.page


def shown(page: Page) -> None:
    page.wait_for_url("**/inspect/*/**")
    expect(page.locator("main[data-drawn]")).to_be_visible(timeout=20_000)


def selected(page: Page, list_id: str) -> str | None:
    return page.locator(f"#{list_id}").get_attribute("aria-activedescendant")


def test_a_token_that_is_chosen_anywhere_is_chosen_everywhere(visit) -> None:
    alice, page = opened(visit)
    answer = page.url
    stored = alice.query(
        "SELECT * FROM chat_message WHERE role = 'assistant' ORDER BY created_at DESC"
    )[0]
    texts = page.locator("#strip .tok").all_text_contents()
    assert len(texts) == stored["num_tokens"]
    assert re.sub(r"[⏎␣\s]", "", "".join(texts)).startswith(re.sub(r"\s", "", stored["text"])[:20])

    page.locator("#ruler .tok").nth(4).click()
    assert selected(page, "strip") == "strip-4"
    assert selected(page, "ruler") == "ruler-4"
    expect(page.locator("#sampling-card")).to_contain_text("Token 5 of 12")
    assert page.url.endswith("#token=5")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#sampling-card")).to_contain_text("Token 6 of 12")
    expect(page.locator("#funnel tbody tr.is-chosen")).to_have_count(1)
    expect(page.locator("#funnel tbody tr")).to_have_count(21)

    page.locator("#strip .tok").first.click()
    page.keyboard.press("ArrowLeft")  # out of the answer, into the prompt's end
    last = page.locator("#prompt-tokens .tok").count() - 1
    assert selected(page, "prompt-tokens") == f"prompt-tokens-{last}"
    assert selected(page, "strip") is None
    expect(page.locator("#prompt-card")).to_contain_text("template")

    page.goto(answer.split("#")[0] + "#token=7&tint=entropy")  # a link shows what one saw
    page.reload()
    shown(page)
    assert selected(page, "strip") == "strip-6"
    expect(page.locator("input[value=entropy]")).to_be_checked()


def test_sliders_answer_at_once_and_lead_back(visit) -> None:
    _, page = opened(visit)
    first = page.locator("#would-win li").first
    expect(first).to_contain_text("1,000 of 1,000")  # greedy
    expect(page.locator("#reset")).to_be_hidden()
    page.locator("#ask-temperature").fill("1.5")
    expect(first).not_to_contain_text("1,000 of 1,000")
    page.locator("#ask-top_k").fill("1")
    expect(first).to_contain_text("1,000 of 1,000")
    page.locator("#reset").click()
    expect(page.locator("#ask-temperature")).to_have_value("0")


def test_behind_each_picture_stands_its_table(visit) -> None:
    _, page = opened(visit)
    for details, rows in (("prompt-behind", "#prompt-tokens .tok"), ("time-behind", "#strip .tok")):
        page.locator(f"#{details} summary").click()
        expect(page.locator(f"#{details} tbody tr")).to_have_count(page.locator(rows).count())
    gaps = page.locator("#time-behind tbody td:nth-child(3)").all_text_contents()
    total = sum(float(gap.removesuffix(" ms").replace(",", "")) for gap in gaps[1:])
    decode = page.locator("#time-figures").inner_text().split(" ms")[0].replace(",", "")
    assert f"{total:.3f}" == decode


def test_another_candidate_goes_on_as_a_version_with_the_same_beginning(visit) -> None:
    alice, page = opened(visit)
    page.locator("#strip .tok").nth(3).click()
    page.locator("#funnel [data-branch]:enabled").first.click()
    page.wait_for_url("**/c/*/")
    alice.wait_for_end()
    first, second = [row for row in alice.stored() if row["role"] == "assistant"]
    [before, after] = [json.loads(row["token_ids"]) for row in (first, second)]
    assert after[:3] == before[:3] and after[3] != before[3]
    assert len(after) > 4
    assert alice.shows_exactly(second["text"])
    expect(alice.answer().locator(".siblings")).to_contain_text("2")
    alice.answer().locator("[data-inspect]").click()
    shown(page)
    expect(page.locator("#strip .tok.forced")).to_have_count(1)
    page.locator("#strip .tok").nth(3).click()
    expect(page.locator("#draw")).to_contain_text("chosen by hand")


def test_a_phone_shows_all_of_it_within_its_width(visit) -> None:
    _, page = opened(visit, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#stage-sampling").scroll_into_view_if_needed()
    expect(page.locator("#funnel")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, scheme) -> None:
    _, page = opened(visit, color_scheme=scheme, bypass_csp=True)  # axe itself is injected
    for name in ("prompt-behind", "time-behind"):
        page.locator(f"#{name} summary").click()
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
