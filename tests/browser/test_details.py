"""Small things that people notice: keys, rings, notes, phones, paper."""

from __future__ import annotations

from playwright.sync_api import expect

FOCUSABLE = """root => [...root.querySelectorAll("a, button, [tabindex]")].filter(
    (e) => e.tabIndex >= 0 && e.checkVisibility({ visibilityProperty: true })).length"""
RING_IS_WHOLE = """tool => {
    const style = getComputedStyle(tool);
    const room = Math.max(0, parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth));
    const ring = tool.getBoundingClientRect();
    for (let box = tool.parentElement; box && box.id !== "scroller"; box = box.parentElement) {
        const clips = getComputedStyle(box);
        if (clips.overflowX === "visible" && clips.contentVisibility !== "auto") continue;
        const outer = box.getBoundingClientRect();
        if (ring.left - room < outer.left - 0.5 || ring.bottom + room > outer.bottom + 0.5) return false;
    }
    return true;
}"""


def test_a_thread_takes_few_stops_of_the_tab_key_and_has_keys_of_its_own(visit):
    alice = visit()
    page = alice.page
    for question in ("One?", "Two?", "Three?"):
        alice.ask_and_wait(question)
    stops = page.locator("#thread").evaluate(FOCUSABLE)
    tools = alice.answer().evaluate(FOCUSABLE)
    assert stops <= tools + 2, "the tools of one message, and no other's"
    page.keyboard.press("Shift+Tab")
    alice.answer().focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".message:focus")).to_contain_text("Three?")
    page.keyboard.press("Enter")
    focused = page.locator(".message .tools button:focus")
    expect(focused).to_have_count(1)
    assert focused.evaluate(RING_IS_WHOLE)
    page.keyboard.press("Escape")
    expect(page.locator(".message:focus")).to_contain_text("Three?")
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    assert page.locator("#text").input_value() == ""


def test_the_ring_of_the_first_tool_is_whole(visit):
    alice = visit()
    alice.ask_and_wait("What is a ring?")
    copy = alice.answer().locator('[data-do="copy"]')
    alice.page.keyboard.press("Tab")  # as somebody with a keyboard
    copy.focus()
    assert copy.evaluate("e => parseFloat(getComputedStyle(e).outlineWidth)") > 0
    assert copy.evaluate(RING_IS_WHOLE)


def test_a_note_goes_with_the_text_that_it_is_about(visit):
    page = visit().page
    page.evaluate("document.getElementById('text').value = 'word '.repeat(50_000)")
    page.press("#text", "Enter")
    expect(page.locator("#note")).to_be_visible()
    page.fill("#text", "")
    expect(page.locator("#note")).to_be_hidden()


def test_the_question_that_is_edited_is_marked_and_in_view(visit):
    alice = visit()
    alice.ask_and_wait("Which one?")
    page = alice.page
    page.keyboard.press("ArrowUp")
    edited = page.locator(".message.user.edited")
    expect(edited).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(edited).to_have_count(0)


def test_offline_nothing_is_said_to_be_sending(visit):
    """Whatever the browser says of itself: the banner and the answer's phase agree."""
    alice = visit(sockets=True)
    page = alice.page
    alice.cut()
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_be_visible()
    alice.ask("Are you there?")
    expect(page.locator(".assistant .phase")).to_contain_text("waiting for the connection")
    page.context.set_offline(False)
    alice.complaints.clear()  # the browser's own lines about being offline
    alice.mend()
    alice.wait_for_end()


def test_on_a_phone_a_new_chat_is_one_press_away_and_no_keys_are_offered(visit):
    alice = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = alice.page
    page.fill("#text", "What is new?")
    page.locator("#send").tap()
    expect(page.locator(".message.assistant")).to_have_count(1)
    alice.wait_for_end()
    page.locator(".head-new").tap()
    expect(page.locator("#welcome")).to_be_visible()
    page.locator("#open-sidebar").tap()
    expect(page.locator("#sidebar")).to_be_visible()
    expect(page.locator("#show-keys")).to_be_hidden()


def test_every_page_of_ones_own_is_in_the_menu_at_ones_name(visit):
    page = visit().page
    page.locator(".account").click()
    menu = page.locator("#account-menu")
    expect(menu.get_by_role("link", name="API keys")).to_be_visible()
    expect(menu.get_by_role("link", name="Change the password")).to_be_visible()
    expect(menu.get_by_role("button", name="Sign out")).to_be_visible()


def test_paper_shows_the_thread_alone_and_forced_colours_keep_the_edges(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait("What is paper?")
    page.emulate_media(media="print")
    for name in ("#sidebar", "#composer", ".tools >> nth=0"):
        expect(page.locator(name)).to_be_hidden()
    expect(page.locator(".message.user .content")).to_be_visible()
    assert (
        page.evaluate("getComputedStyle(document.getElementById('scroller')).overflowY")
        == "visible"
    )
    page.emulate_media(media="screen", forced_colors="active")
    bubble = page.locator(".message.user .content")
    assert bubble.evaluate("e => getComputedStyle(e).borderTopWidth") == "1px"
    current = page.locator(".conversation:has([aria-current])")
    assert current.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_days_are_the_calendars_also_where_one_has_23_hours(visit):
    """New York, the Monday after summer time began."""
    page = visit(timezone_id="America/New_York").page
    page.clock.set_fixed_time("2026-03-09T12:00:00-04:00")
    groups = page.evaluate(
        """async (times) => {
            const { groupOf } = await import("/static/js/chat/sidebar-rows.js");
            return times.map(groupOf);
        }""",
        ["2026-03-07T23:30:00-05:00", "2026-03-08T00:30:00-05:00", "2026-03-09T00:30:00-04:00"],
    )
    assert groups == ["Last seven days", "Yesterday", "Today"]
