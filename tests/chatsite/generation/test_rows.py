"""The figures as the database keeps them: exact, or refused."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatsite.accounts.models import User
from chatsite.generation import rows as actions
from chatsite.generation.figures import AttemptTimeline
from chatsite.generation.models import Generation
from inference.contract import GenerationRequest, Result, SamplingParams, offset_us
from tests.chatsite.generation.timelines import RECEIVED, timelines

pytestmark = pytest.mark.django_db


def stored(attempts: list[AttemptTimeline]) -> Generation:
    """The row of a request with these tries, closed as the site closes it and read again."""
    request = GenerationRequest(
        request_id=uuid.uuid4().hex,
        model="m",
        prompt_token_ids=(1, 2, 3),
        sampling=SamplingParams(seed=1),
        received=RECEIVED,
    )
    row = actions.open_generation(request)
    result = Result(
        request_id=request.request_id, attempt=len(attempts), finish_reason="stop", prompt_tokens=3
    )
    assert actions.close_generation(row, result, attempts)
    assert not actions.close_generation(row, result, attempts), "a request ends once"
    return Generation.objects.get(pk=row.pk)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(attempts=timelines())
def test_the_identities_hold_exactly_in_the_rows(attempts: list[AttemptTimeline]) -> None:
    row = stored(attempts)
    tokens = [stamp for attempt in attempts for stamp in attempt.tokens]
    assert row.completion_tokens == len(row.token_offsets_us) == len(tokens)
    assert row.attempts_used == row.attempts.count() == len(attempts)
    if not tokens:
        assert row.ttft_us is row.prefill_us is row.latency_us is row.decode_us is None
        return
    assert row.ttft_us == row.queue_us + row.prefill_us
    assert row.latency_us == row.ttft_us + row.decode_us + row.recovery_us
    assert row.ttft_us == row.token_offsets_us[0] == offset_us(RECEIVED, tokens[0])[0]
    assert row.latency_us == row.token_offsets_us[-1] == offset_us(RECEIVED, tokens[-1])[0]
    written = [attempt for attempt in attempts if attempt.tokens]
    steps = len(tokens) - len(written)
    if not steps:
        assert row.tpot_us is None
        return
    assert row.tpot_us == row.decode_us / steps
    if len(written) == 1:  # latency = TTFT + TPOT × (n − 1)
        exactly = row.ttft_us + row.tpot_us * (row.completion_tokens - 1)
        assert round(exactly) == row.latency_us


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    attempts=timelines().filter(lambda tries: any(a.tokens for a in tries)),
    name=st.sampled_from(
        ["queue_us", "prefill_us", "ttft_us", "decode_us", "recovery_us", "latency_us"]
    ),
    by_us=st.integers(1, 10**9),
)
def test_a_row_whose_figures_do_not_add_up_is_refused(
    attempts: list[AttemptTimeline], name: str, by_us: int
) -> None:
    row = stored(attempts)
    rows = Generation.objects.filter(pk=row.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(**{name: getattr(row, name) + by_us})
    if name != "latency_us":  # which may be unknown; what it is made of may not
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**{name: None})
    assert Generation.objects.values().get(pk=row.pk)[name] == getattr(row, name)


def painted(row: Generation, user: User, first_us: int, last_us: int) -> tuple[bool, Generation]:
    kept = actions.record_paint(
        user_id=user.pk, request_id=row.pk, first_paint_us=first_us, last_paint_us=last_us
    )
    return kept, Generation.objects.get(pk=row.pk)


@pytest.mark.parametrize(
    ("first_us", "last_us"),
    [
        (700_000, 600_000),  # the first after the last
        (1, 1_000_000),  # before the first token was there
        (600_000, 999_999),  # shorter than the latency
        (600_000, 3_600_000_000),  # longer than has passed
        (-1, 1_500_000),
        (-90_000_000, -80_000_000),
    ],
)
def test_a_browsers_stamps_that_cannot_be_are_refused_and_counted(alice, first_us, last_us):
    row = of_alice(alice)
    kept, row = painted(row, alice, first_us, last_us)
    assert not kept
    assert (row.user_ttft_us, row.user_latency_us, row.is_paint_refused) == (None, None, True)
    kept, row = painted(row, alice, 600_000, 1_500_000)
    assert kept and row.user_latency_us == 1_500_000


def test_another_persons_stamps_change_nothing(alice, bob):
    kept, row = painted(of_alice(alice), bob, 600_000, 10)
    assert not kept and not row.is_paint_refused


def of_alice(alice: User) -> Generation:
    received = timezone.now() - dt.timedelta(seconds=30)
    row = Generation(
        user=alice, model_slug="m", received_at=received, state="stop", queue_us=100_000,
        prefill_us=400_000, ttft_us=500_000, decode_us=500_000, recovery_us=0, latency_us=1_000_000,
    )  # fmt: skip
    row.save(force_insert=True)
    return row


def test_stamps_that_came_before_the_figures_are_held_against_them(alice):
    row = of_alice(alice)
    Generation.objects.filter(pk=row.pk).update(user_ttft_us=5, user_latency_us=10)
    actions.refuse_impossible_paint(row.pk)
    row.refresh_from_db()
    assert (row.user_latency_us, row.is_paint_refused) == (None, True)
