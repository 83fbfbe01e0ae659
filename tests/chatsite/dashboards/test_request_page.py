"""The page of one request: its bars add up, and the conversation opens only for who may read it."""

from __future__ import annotations

import random
import re
import uuid

import pytest
from django.contrib.auth.models import Permission
from hypothesis import given
from hypothesis import strategies as st

from chatsite.chat.models import Conversation, Message
from chatsite.dashboards.latency.one_request import gaps_ms
from chatsite.dashboards.latency.waterfall import formula, waterfall
from chatsite.generation.models import Attempt, Generation
from chatsite.generation.shown_figures import figures_ms
from tests.chatsite.dashboards import rows


def url(generation: Generation) -> str:
    return f"/admin/latency/requests/{generation.pk}/"


def lanes(generation: Generation, attempts=()) -> dict:
    return {lane.name: lane for lane in waterfall(generation, attempts).lanes}


@given(st.integers(0, 2**32), st.integers(1, 300))
def test_bars_of_the_site_add_up_to_the_latency(seed, tokens):
    row = rows.generation(random.Random(seed), tokens=tokens)
    found = lanes(row)
    added = sum(found[n].total_us for n in ("Queue", "Prefill", "Decode") if n in found)
    assert added == row.latency_us
    assert found["Queue"].total_us == row.queue_us


@given(st.integers(0, 2**32), st.integers(2, 300))
def test_the_formula_says_the_latency(seed, tokens):
    row = rows.generation(random.Random(seed), tokens=tokens)
    f = formula(row)
    assert f["ttft_us"] + f["tpot_us"] * f["steps"] + f["recovery_us"] == pytest.approx(
        row.latency_us
    )
    assert (f["steps"], f["recoveries"]) == (tokens - 1, 0)


@given(st.integers(0, 2**32))
def test_every_bar_lies_on_the_axis(seed):
    picture = waterfall(rows.generation(random.Random(seed)), [])
    for lane in picture.lanes:
        for bar in lane.bars:
            assert 0 <= bar.left <= 100.001
            assert bar.left + bar.width <= 100.2
    assert 2 <= len(picture.ticks) <= 10


@pytest.mark.django_db
def test_a_recovered_answer_shows_the_outage_in_its_own_colour():
    row = rows.recovered()
    attempts = list(row.attempts.all())
    decode = lanes(row, attempts)["Decode"]
    assert [bar.kind for bar in decode.bars] == ["decode", "recovery", "decode"]
    assert decode.bars[1].length_us == row.recovery_us
    assert decode.total_us == row.decode_us + row.recovery_us
    f = formula(row)
    assert (f["recoveries"], f["steps"]) == (1, 118)
    gaps = gaps_ms(row, attempts)
    assert gaps.index(None) == 59
    assert gaps.count(None) == 1


def test_a_missing_stamp_makes_the_stretch_unattributed():
    row = rows.generation(started_us=None)
    queue = lanes(row)["Queue"]
    assert [bar.kind for bar in queue.bars] == ["web", "unattributed"]
    assert queue.total_us == row.queue_us


def test_a_request_that_was_never_admitted_is_unattributed_until_it_was_stored():
    row = rows.failed(started_us=None)
    found = lanes(row)
    assert list(found) == ["Queue"]
    assert [bar.kind for bar in found["Queue"].bars] == ["web", "unattributed"]


def test_without_the_browsers_stamps_there_are_no_browser_bars():
    assert "Browser" not in lanes(rows.generation(user_ttft_us=None, user_latency_us=None))


def test_what_the_browser_saw_beyond_the_latency_is_unattributed():
    row = rows.generation(user_latency_us=None)
    row.user_latency_us = row.latency_us + 25_000
    delivery = lanes(row)["Delivery"]
    assert delivery.total_us == 25_000
    assert [bar.kind for bar in delivery.bars] == ["unattributed"]


def test_page_shows_formula_figures_and_snapshot(dana, signed_in, django_assert_max_num_queries):
    row = rows.generation(tokens=20)
    row.save(force_insert=True)
    client = signed_in(dana)
    with django_assert_max_num_queries(5):
        page = client.get(url(row)).content.decode()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert "Latency = TTFT + TPOT × (n − 1)" in text
    assert f"× (20 − 1) = {row.latency_us / 1000:,.3f} ms" in text
    assert "4711" in text  # the seed of the sampling snapshot
    assert "balanced v1" in text
    assert 'id="itl"' in page


@pytest.mark.parametrize("make", [rows.failed, rows.generation])
def test_page_of_any_state_opens(dana, signed_in, make):
    for i, state in enumerate(Generation.State.values):
        row = make(random.Random(i), state=state, stored_at=None)
        row.save(force_insert=True)
        assert signed_in(dana).get(url(row)).status_code == 200


def test_a_request_that_does_not_exist_is_404_for_dana_and_403_for_charlie(
    dana, charlie, signed_in
):
    gone = rows.generation()
    assert signed_in(dana).get(url(gone)).status_code == 404
    assert signed_in(charlie).get(url(gone)).status_code == 403


def test_its_owner_opens_it_and_nobody_else_learns_of_it(alice, bob, charlie, signed_in, client):
    row = rows.generation(
        user=alice, source="api", sampling={"stop": ["my words"], "seed": 4711, "temperature": 1}
    )
    row.save(force_insert=True)
    page = signed_in(alice).get(url(row))
    assert page.status_code == 200
    shown = page.content.decode()
    assert "4711" in shown
    assert "my words" in shown
    assert not re.search(r'href="/admin/', shown.split('id="content-main"')[0])
    for other in (bob, alice):
        gone = signed_in(other).get(
            url(row) if other is bob else f"{url(row)[:-37]}{uuid.uuid4()}/"
        )
        assert gone.status_code == 404
    assert signed_in(charlie).get(url(row)).status_code == 403
    asked = client.get(url(row))
    assert asked.status_code == 302
    assert "sign-in" in asked["location"]
    assert signed_in(alice).get("/admin/latency/").status_code == 404


def test_words_are_for_who_may_read_them(charlie, dana, alice, signed_in):
    row = rows.failed(user=alice, source="api", error_code="bad_schema", error_text="my words",
                      sampling={"stop": ["my words"]})  # fmt: skip
    row.save(force_insert=True)
    allow(charlie, "view_generation")
    told = signed_in(charlie).get(url(row)).content.decode()
    assert "bad_schema" in told
    assert "my words" not in told
    assert "my words" in signed_in(dana).get(url(row)).content.decode()


@pytest.fixture
def alices_answer(alice) -> Generation:
    conversation = Conversation.objects.create(owner=alice, title="Alice's secret")
    row = rows.generation(user=alice, subject=uuid.uuid4())
    row.save(force_insert=True)
    Message.objects.create(id=row.subject, conversation=conversation, role="assistant",
                           author=alice, request_id=row.pk, text="secret text")  # fmt: skip
    return row


def allow(user, *codenames: str) -> None:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


def test_the_conversation_opens_in_the_admin_for_who_may_read_it(dana, alices_answer, signed_in):
    page = signed_in(dana).get(url(alices_answer)).content.decode()
    link = re.search(r'href="(/admin/chat/conversation/[^"]+)"', page)[1]
    assert "secret text" in signed_in(dana).get(link).content.decode()


def test_charlie_who_may_see_latency_gets_no_way_to_what_was_said(
    charlie, alices_answer, signed_in
):
    allow(charlie, "view_generation")
    page = signed_in(charlie).get(url(alices_answer)).content.decode()
    assert "Open the conversation" not in page
    assert "secret" not in page.lower().replace("secret_key", "")
    conversation = Message.objects.get(pk=alices_answer.subject).conversation
    refused = signed_in(charlie).get(f"/admin/chat/conversation/{conversation.pk}/change/")
    assert refused.status_code == 403


def test_the_owner_on_the_staff_is_led_to_the_chat(alice, alices_answer, signed_in):
    alice.is_staff = True
    alice.save()
    allow(alice, "view_generation")
    page = signed_in(alice).get(url(alices_answer)).content.decode()
    conversation = Message.objects.get(pk=alices_answer.subject).conversation_id
    assert f'href="/c/{conversation}/"' in page


def test_a_deleted_conversation_leaves_a_page_without_the_link(dana, alices_answer, signed_in):
    Conversation.objects.all().delete()
    page = signed_in(dana).get(url(alices_answer))
    assert page.status_code == 200
    assert "Open the conversation" not in page.content.decode()


def test_attempts_are_listed(dana, signed_in):
    row = rows.recovered()
    page = signed_in(dana).get(url(row)).content.decode()
    assert Attempt.objects.filter(generation=row).count() == 2
    assert "worker_lost" in page
    assert "slot-2" in page


@pytest.mark.parametrize(
    ("floors", "said"),
    [
        ([40_000.0], "unknown: the machine was never idle enough"),
        ([40_000.0, 10_000.0], "50.0 %"),  # another request's worker saw a better bandwidth
        ([15_000.0, 18_000.0], "75.0 %"),
    ],
)
def test_the_roofline_is_never_above_100_per_cent(dana, signed_in, floors, said):
    own, *others = (
        rows.generation(random.Random(i), tpot_floor_us=floor, tpot_us=20_000.0)
        for i, floor in enumerate(floors)
    )
    own.save(force_insert=True)
    for other in others:
        other.save(force_insert=True)
    page = signed_in(dana).get(f"/admin/latency/requests/{own.pk}/").content.decode()
    row = page[page.index("TPOT floor / measured") :]
    assert said in row[: row.index("</tr>")]


@pytest.mark.parametrize(("floor_us", "share"), [(5_000.0, 0.25), (40_000.0, None), (None, None)])
def test_programs_get_no_share_that_can_not_be(floor_us, share):
    """A floor from a busy machine was 172 % of what a request took."""
    row = rows.generation(random.Random(0), tpot_floor_us=floor_us, tpot_us=20_000.0)
    assert figures_ms(row)["roofline"] == share
