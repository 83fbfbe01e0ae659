"""From question to stored answer in a real browser: streamed, resumed, stopped, continued, again."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

BRIEF = "What is the capital of France?"
LONG = "Write a long story about a lighthouse keeper and a whale, with many chapters."
FIGURES = re.compile(
    r"^TTFT [\d.,]+ m?s · [\d.,]+ m?s/token · \d[\d.,]* tokens/s · [\d,]+ tokens · \S+ / \S+$"
)


def test_an_answer_is_streamed_and_what_is_shown_is_what_is_stored(visit):
    alice = visit()
    page = alice.page
    page.evaluate(
        """() => {
            window.phases = [];
            new MutationObserver(() => {
                const words = document.querySelector(".unfinished .phase")?.textContent;
                if (words && words !== window.phases.at(-1)) window.phases.push(words);
            }).observe(document.getElementById("thread"), { subtree: true, childList: true, characterData: true });
        }"""
    )
    alice.ask(LONG, preset="endless")
    alice.wait_for_text(chars=300)
    page.keyboard.press("Escape")
    alice.wait_for_end()
    question, answer = alice.stored()
    assert (question["role"], question["text"]) == ("user", LONG)
    assert answer["finish_reason"] == "cancelled"
    assert alice.shows_exactly(answer["text"])
    phases = page.evaluate("window.phases")
    assert phases[0] == "sending"
    assert any(re.fullmatch(r"writing, \d[\d.,]* tokens/s", phase) for phase in phases)
    assert phases[-1] == "stopping"
    expect(page).to_have_title(re.compile(r"^Write a long story about a lighthouse"))


def test_afterwards_one_line_of_figures_opens_into_the_waterfall(visit):
    alice = visit()
    alice.ask_and_wait("Name three colours.")
    line = alice.answer().locator("summary")
    assert FIGURES.match(line.inner_text().strip())
    line.click()
    waterfall = alice.answer().locator(".waterfall")
    expect(waterfall.locator("li").last).to_contain_text("unattributed")
    assert [row.split("\n")[0] for row in waterfall.locator("li").all_inner_texts()][:4] == [
        "web", "queue", "prefill", "decode",
    ]  # fmt: skip
    expect(waterfall).to_contain_text("latency = TTFT + TPOT × (n − 1)")

    (answer,) = (row for row in alice.stored() if row["role"] == "assistant")
    (kept,) = alice.query(
        "SELECT * FROM metrics_generation WHERE request_id = ?", answer["request_id"]
    )
    assert 0 < kept["ttft_us"] <= kept["user_ttft_us"] <= kept["user_latency_us"]
    assert kept["latency_us"] <= kept["user_latency_us"]


def test_a_reload_and_a_second_tab_go_on_with_the_same_text(visit):
    alice = visit()
    alice.ask(LONG, preset="endless")
    alice.wait_for_text(chars=60)
    second = visit(f"/c/{alice.conversation}/")
    second.wait_for_text(chars=120)
    alice.reload()
    alice.wait_for_text(chars=180)
    second.page.keyboard.press("Escape")
    for window in (alice, second):
        window.wait_for_end()
    text = alice.stored()[-1]["text"]
    assert len(text) >= 120
    assert alice.shows_exactly(text)
    assert second.shows_exactly(text)


def test_a_cut_socket_goes_on_where_it_was(visit):
    alice = visit(sockets=True)
    alice.ask(LONG, preset="endless")
    alice.wait_for_text(chars=60)
    alice.cut()
    shown = alice.answer().locator(".content").inner_text()
    alice.page.wait_for_timeout(1500)
    assert alice.answer().locator(".content").inner_text() == shown
    alice.mend()
    alice.wait_for_text(chars=len(shown) + 50)
    watch = json.loads([frame for frame in alice.frames if '"watch"' in frame][-1])
    assert watch["position"] > 0
    alice.page.keyboard.press("Escape")
    alice.wait_for_end()
    assert alice.shows_exactly(alice.stored()[-1]["text"])


def test_a_stopped_answer_keeps_its_text_and_can_go_on(visit):
    alice = visit()
    alice.ask(LONG, preset="endless")
    alice.wait_for_text(chars=20)
    alice.page.get_by_role("button", name="Stop (Esc)").click()
    alice.wait_for_end()
    expect(alice.answer().locator(".trouble")).to_have_text(
        re.compile(r"^Stopped by you after \d+ tokens\.$")
    )
    before = alice.stored()[-1]
    alice.do("continue")
    alice.goes_on_from(before)


def two_pages_of_a_stopped_answer(visit):
    """Of the second one a `continue` is under way until it is delivered."""
    first = visit()
    first.ask(LONG, preset="endless")
    first.wait_for_text(chars=20)
    first.page.keyboard.press("Escape")
    first.wait_for_end()
    second = visit(f"/c/{first.conversation}/", sockets=True)
    expect(second.answer().locator('[data-do="continue"]')).to_be_visible()
    second.delay("continue")
    second.do("continue")
    expect(second.answer().locator(".phase")).to_have_text("sending")
    return first, second


def test_continued_in_two_windows_at_once_an_answer_goes_on_once_and_in_both(visit):
    first, second = two_pages_of_a_stopped_answer(visit)
    first.do("continue")
    first.wait_for_text(chars=80)
    second.deliver()
    second.wait_for_text(chars=160)
    expect(second.page.locator("#note")).to_be_hidden()
    second.page.keyboard.press("Escape")
    for window in (first, second):
        window.wait_for_end()
    (answer,) = (row for row in first.stored() if row["role"] == "assistant")
    for window in (first, second):
        assert window.shows_exactly(answer["text"])
    requests = first.query("SELECT * FROM metrics_generation WHERE subject = ?", answer["id"])
    assert len(requests) == 2


def test_a_stop_holds_though_the_answer_was_continued_by_another_window(visit):
    first, second = two_pages_of_a_stopped_answer(visit)
    second.page.keyboard.press("Escape")
    expect(second.answer().locator(".phase")).to_have_text("stopping")
    first.do("continue")
    first.wait_for_text(chars=80)
    second.deliver()
    for window in (first, second):
        window.wait_for_end()
    assert first.stored()[-1]["finish_reason"] == "cancelled"


def test_an_answer_cut_at_the_limit_says_so_and_goes_on_from_its_last_token(visit):
    alice = visit()
    alice.ask_and_wait("Tell me about the sea.")
    expect(alice.answer().locator(".trouble")).to_contain_text("limit")
    before = alice.stored()[-1]
    assert before["finish_reason"] == "length"
    alice.do("continue")
    alice.wait_for_text(chars=len(before["text"]) + 10)
    alice.wait_for_end()
    after = alice.stored()[-1]
    assert after["text"].startswith(before["text"])
    assert len(json.loads(after["token_ids"])) > len(json.loads(before["token_ids"]))


def test_answering_again_makes_a_version_beside_the_first(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait(BRIEF)
    alice.do("regenerate")
    siblings = alice.answer().locator(".siblings")
    expect(siblings).to_contain_text("2 / 2")
    alice.wait_for_end()
    alice.do("choose-again")
    page.get_by_role("menuitemradio", name="Precise").click()
    expect(siblings).to_contain_text("3 / 3")
    alice.wait_for_end()
    expect(alice.answer().locator("summary")).to_contain_text("/ precise")
    page.keyboard.press("Alt+Comma")
    alice.do("previous")
    expect(siblings).to_contain_text("1 / 3")
    page.wait_for_timeout(300)
    alice.reload()
    expect(siblings).to_contain_text("1 / 3")
    answers = [row for row in alice.stored() if row["role"] == "assistant"]
    assert len({row["parent_id"] for row in answers}) == 1
    assert alice.shows_exactly(answers[0]["text"])


def test_editing_a_question_makes_a_branch_and_keeps_the_first(visit):
    alice = visit()
    page = alice.page
    alice.ask_and_wait(BRIEF)
    page.keyboard.press("ArrowUp")
    expect(page.locator("#text")).to_have_value(BRIEF)
    page.keyboard.press("Escape")
    expect(page.locator("#text")).to_have_value("")
    page.keyboard.press("ArrowUp")
    page.fill("#text", "What is the capital of Portugal?")
    page.keyboard.press("Enter")
    question = page.locator(".message.user")
    expect(question.locator(".siblings")).to_contain_text("2 / 2")
    alice.wait_for_end()
    expect(question).to_have_count(1)
    question.hover()
    question.locator('[data-do="previous"]').click()
    expect(question.locator(".content")).to_have_text(BRIEF)
    assert [row["parent_id"] for row in alice.stored() if row["role"] == "user"] == [None, None]


def test_a_second_question_meanwhile_stays_where_it_was_written(visit):
    alice = visit()
    page = alice.page
    alice.ask(LONG, preset="endless")
    alice.wait_for_text()
    page.fill("#text", "And another thing?")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_contain_text("still being written")
    expect(page.locator("#text")).to_have_value("And another thing?")
    page.keyboard.press("Escape")
    alice.wait_for_end()
    expect(page.locator("#note")).to_be_hidden()
    assert len(alice.stored()) == 2


def test_another_conversation_goes_on_and_the_list_says_when_it_has_ended(visit):
    alice = visit()
    page = alice.page
    alice.ask("Tell me a story about two foxes.", preset="endless")
    alice.wait_for_text()
    page.keyboard.press("Alt+n")
    expect(page.locator("#welcome")).to_be_visible()
    row = page.locator(".conversation", has_text="two foxes")
    expect(row.locator(".sign.is-writing")).to_be_visible()
    alice.ask_and_wait("What is two and two?")
    row.locator("a").click()
    alice.wait_for_text()
    page.keyboard.press("Escape")
    alice.wait_for_end()
    expect(row.locator(".sign")).to_be_hidden()


def test_a_question_asked_without_a_connection_waits_over_a_reload_and_is_sent_once(visit):
    alice = visit(sockets=True)
    page = alice.page
    alice.cut()
    alice.ask("Are you there?")
    expect(page.locator(".assistant .phase")).to_contain_text("waiting for the connection")
    alice.reload()
    expect(page.locator(".message.user .content")).to_have_text("Are you there?")
    expect(page.locator(".assistant .phase")).to_contain_text("waiting for the connection")
    alice.mend()
    alice.wait_for_end()
    assert [row["text"] for row in alice.stored() if row["role"] == "user"] == ["Are you there?"]


def test_a_question_that_was_not_sent_can_be_taken_back(visit):
    alice = visit(sockets=True)
    alice.cut()
    alice.ask("Never mind.")
    expect(alice.page.locator(".assistant .phase")).to_be_visible()
    alice.page.keyboard.press("Escape")
    expect(alice.page.locator("#text")).to_have_value("Never mind.")
    expect(alice.page.locator(".message")).to_have_count(0)
    alice.mend()
    alice.page.wait_for_timeout(500)
    assert alice.query("SELECT id FROM chat_message WHERE text = 'Never mind.'") == []


def test_a_draft_survives_a_reload(visit):
    alice = visit()
    page = alice.page
    page.fill("#text", "Half a thought")
    alice.reload()
    expect(page.locator("#text")).to_have_value("Half a thought")
    page.fill("#text", "")


def test_too_long_a_message_is_refused_with_both_numbers_and_kept(visit):
    page = visit().page
    page.evaluate("document.getElementById('text').value = 'word '.repeat(200_000)")
    page.press("#text", "Enter")
    expect(page.locator("#note")).to_have_text(
        "A message has at most 200,000 characters; this one has 1,000,000."
    )
    assert len(page.input_value("#text")) == 1_000_000


def test_a_prompt_longer_than_the_context_is_refused_before_it_is_queued_and_kept(visit):
    alice = visit()
    text = "many words " * 15_000
    alice.ask(text)
    expect(alice.page.locator("#note")).to_contain_text("its context holds", timeout=20_000)
    expect(alice.page.locator("#text")).to_have_value(text)
    expect(alice.page.locator(".message")).to_have_count(0)
    alice.page.fill("#text", "")


def test_an_answer_to_a_trimmed_conversation_says_how_much_was_left_out(visit, stack):
    alice = visit()
    alice.ask_and_wait(BRIEF)
    stack.python(
        "from chatsite.chat.models import Message\n"
        f"last = Message.objects.get(conversation='{alice.conversation}', role='assistant')\n"
        "for n in range(8):\n"
        "    last = Message.objects.create(conversation_id=last.conversation_id, parent=last,\n"
        "        role='assistant' if n % 2 else 'user', text='many words ' * 2100, author_id=last.author_id)\n"
        "last.conversation.active_leaf = last\n"
        "last.conversation.save()\n"
    )
    alice.reload()
    expect(alice.page.locator(".message.assistant")).to_have_count(5)  # all of them are there
    alice.ask_and_wait("And now?")
    trimmed = alice.answer().locator(".trimmed")
    expect(trimmed).to_be_visible()
    left_out = alice.stored()[-1]["trimmed_messages"]
    assert left_out >= 2
    expect(trimmed).to_have_text(
        f"The {left_out} oldest messages were left out: the conversation is longer than the model's context."
    )
    alice.reload()
    expect(trimmed).to_be_visible()
