"""Percentiles are exact, identities survive adding up, and no requests are no data."""

from __future__ import annotations

import datetime as dt
import random

import numpy
import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chatsite.generation import stats
from chatsite.generation.models import Generation
from tests.chatsite.dashboards import rows


def everything(*, seconds: int) -> stats.Board:
    """The board of so many seconds until now."""
    now = timezone.now()
    since = now - dt.timedelta(seconds=seconds)
    return stats.board(stats.Selection(since=since, until=now), slice_s=3600)


values = st.lists(st.integers(0, 10**12), min_size=1, max_size=400)


@given(values, st.integers(1, 100))
def test_percentile_is_numpys_nearest_rank(measured, per_cent):
    expected = numpy.percentile(measured, per_cent, method="inverted_cdf")
    assert stats.percentile(sorted(measured), per_cent) == expected


@given(values, st.integers(1, 100))
def test_percentile_was_measured_and_covers_its_share(measured, per_cent):
    found = stats.percentile(sorted(measured), per_cent)
    assert found in measured
    assert sum(v <= found for v in measured) * 100 >= per_cent * len(measured)
    assert sum(v < found for v in measured) * 100 < per_cent * len(measured)


@given(values)
def test_summary_ascends(measured):
    s = stats.Summary.of(sorted(measured))
    assert min(measured) <= s.p50 <= s.p90 <= s.p95 <= s.p99 <= s.max == max(measured)


def test_percentile_over_nothing_is_no_data():
    assert stats.percentile([], 95) is None
    assert stats.Summary.of([]) == stats.Summary(0, None, None, None, None, None, None)


@pytest.mark.parametrize("per_cent", [0, 101, -1])
def test_percentile_outside_its_range_is_refused(per_cent):
    with pytest.raises(ValueError, match="between 1 and 100"):
        stats.percentile([1, 2], per_cent)


def test_p99_is_rough_under_a_thousand_values():
    assert stats.Summary.of([1] * 999).has_rough_p99
    assert not stats.Summary.of([1] * 1000).has_rough_p99
    assert not stats.Summary().has_rough_p99


@pytest.mark.django_db
def test_board_equals_numpy_over_the_same_rows(django_assert_num_queries):
    rows.many(400, days=3)
    stored = list(Generation.objects.all())
    with django_assert_num_queries(3):  # how many, all, and the slowest
        board = everything(seconds=4 * 86400)

    ttft = [g.ttft_us for g in stored if g.ttft_us is not None]
    tpot = [g.tpot_us for g in stored if g.tpot_us is not None]
    assert board.requests == 400 == sum(b.requests for b in board.buckets)
    assert board.tokens == sum(g.completion_tokens or 0 for g in stored)
    assert board.tokens_per_s == board.tokens / (4 * 86400)
    for summary, measured in ((board.ttft_us, ttft), (board.tpot_us, tpot)):
        for per_cent in (50, 90, 95, 99):
            expected = numpy.percentile(measured, per_cent, method="inverted_cdf")
            assert getattr(summary, f"p{per_cent}") == expected
    failed = [g for g in stored if g.state in stats.ERRORS]
    assert board.error_count == len(failed)
    assert board.error_share == len(failed) / 400
    assert dict(board.errors).keys() == {g.error_code for g in failed}


@pytest.mark.django_db
def test_phases_of_a_slice_add_up_to_its_mean_latency():
    moment = dt.datetime(2026, 11, 1, 12, 0, 30, tzinfo=dt.UTC)
    rng = random.Random(3)
    stored = [rows.generation(rng, received_at=moment) for _ in range(9)]
    stored.append(rows.failed(rng, received_at=moment))
    Generation.objects.bulk_create(stored)
    stored.append(rows.recovered(rng, received_at=moment))

    until = moment + dt.timedelta(minutes=1)
    selection = stats.Selection(since=moment, until=until)
    (slice_,) = stats.board(selection, slice_s=60).buckets
    ended = [g for g in stored if g.latency_us is not None]
    phases = slice_.phases
    whole = phases.queue_us + phases.prefill_us + phases.decode_us + phases.recovery_us
    assert whole == pytest.approx(sum(g.latency_us for g in ended) / 10)
    assert phases.delivery_us == pytest.approx(
        sum(g.user_latency_us - g.latency_us for g in ended) / 10
    )
    assert slice_.start_s == int(moment.timestamp()) // 60 * 60
    assert slice_.requests == 11


@pytest.mark.django_db
def test_board_over_no_requests_has_no_figures():
    board = everything(seconds=3600)
    assert (board.requests, board.buckets, board.groups, board.errors) == (0, [], [], [])
    assert board.error_share is None
    assert board.tokens_per_s is None
    assert board.ttft_us.p50 is None


@pytest.mark.django_db
def test_requests_without_a_token_count_but_have_no_latency():
    rows.failed().save(force_insert=True)
    rows.failed(random.Random(2), state="queued", error_code="").save(force_insert=True)
    board = everything(seconds=3600)
    assert (board.requests, board.unfinished, board.error_count) == (2, 1, 1)
    assert board.error_share == 1.0
    assert board.ttft_us.count == 0
    assert all(b.phases.queue_us is None for b in board.buckets)


@pytest.mark.django_db
def test_what_waits_and_runs_now():
    for i, state in enumerate(["pending", "queued", "queued", "running", "stop"]):
        rows.generation(random.Random(i), state=state).save(force_insert=True)
    assert stats.now_in_states() == {"running": 1, "waiting": 3}
