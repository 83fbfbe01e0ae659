"""The figures as the database keeps them: exact, or refused."""

from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
