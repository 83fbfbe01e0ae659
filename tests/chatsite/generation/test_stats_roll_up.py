"""Roll-ups say what the requests' own rows say, whatever the window, and however often they're made.

Runs on the database of the run: SQLite, and on PostgreSQL from test_stats_on_postgres.py.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from ddsketch import DDSketch
from django.core.management import call_command
from django.db.models import Count, Max, Sum
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chatsite.generation import stats
from chatsite.generation.models import Generation, RollUp, RollUpProgress
from chatsite.generation.stats import plan, read, roll_up, sketch
from tests.chatsite.dashboards import rows

DAYS = 5
AT_ONCE = dt.timedelta(0)
State = Generation.State

# --- sketches -------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.5, 1e10), min_size=1, max_size=200))
def test_bins_are_those_of_the_library(values):
    keys = sketch.keys_of(np.array(values))
    for value, key in zip(values, keys.tolist(), strict=True):
        assert abs(sketch.MAPPING.value(key) - value) <= value * 0.01 * (1 + 1e-9)
    of_library = DDSketch(sketch.RELATIVE_ACCURACY)
    for value in values:
        of_library.add(value)
    ours = sketch.percentiles(np.zeros(len(keys), int), keys, np.ones(len(keys), int), of=1)
    theirs = of_library.get_quantile_value(1.0)
    top = sketch.values_of(np.array([keys.max()]))[0]
    assert top == pytest.approx(theirs)
    assert ours[0, -1] <= top


@given(st.lists(st.lists(st.integers(0, 10**9), max_size=60), min_size=1, max_size=6))
def test_packed_and_merged_percentiles_are_within_one_per_cent(parts):
    owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    values = np.array([v for part in parts for v in part], np.int64)
    packed = sketch.pack(owner, sketch.keys_of(values), np.ones(len(values), int), of=len(parts))
    assert [len(p) > 0 for p in packed] == [len(p) > 0 for p in parts]
    _owner, keys, counts = sketch.unpack(packed)
    assert counts.sum() == len(values)
    merged = sketch.percentiles(np.zeros(len(keys), int), keys, counts, of=1)[0]
    for found, per_cent in zip(merged.tolist(), (50, 90, 95, 99), strict=True):
        exact = stats.percentile(sorted(values.tolist()), per_cent)
        if exact is None:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(exact, rel=0.0101)


# --- the plan -------------------------------------------------------------------------------------


@given(
    since=st.integers(0, 40 * 86_400 * 10), length=st.integers(1, 12 * 86_400 * 10),
    slice_s=st.sampled_from([30, 60, 300, 1800, 3600, 10_800, 21_600, 86_400, 604_800]),
    until_s=st.integers(0, 52 * 1440).map(lambda m: m * 60),
    stale=st.lists(st.integers(0, 52 * 1440).map(lambda m: m * 60), max_size=5),
)  # fmt: skip
def test_a_plan_covers_every_moment_once(since, length, slice_s, until_s, stale):
    begin = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=since * 100)
    end = begin + dt.timedelta(milliseconds=length * 100)
    rolled = plan.Rolled(until_s, until_s - 86_400, sorted(set(stale)))
    found = plan.plan(begin, end, slice_s=slice_s, rolled=rolled)
    parts = [(a.timestamp(), b.timestamp()) for a, b in found.rows]
    for width, stretches in found.roll_ups.items():
        assert slice_s % width == 0
        for a, b in stretches:
            assert a % width == b % width == 0 and b <= until_s
            assert not any(a <= minute < b for minute in stale)
            parts.append((a, b))
    parts.sort()
    assert parts[0][0] == begin.timestamp() and parts[-1][1] == end.timestamp()
    assert all(a[1] == b[0] for a, b in pairwise(parts))


# --- equal to SQL ---------------------------------------------------------------------------------


@pytest.fixture
def many(db, monkeypatch):
    """1,500 requests over five days, of several workers and keys; boards use roll-ups for them."""
    rng = random.Random(5)
    rows.many(1500, days=DAYS)
    for row in Generation.objects.all():
        row.worker = rng.choice(["slot1@a", "slot2@a", "slot1@b"])
        row.api_key = rng.choice(["sk-one", "sk-two"]) if row.source == "api" else ""
        row.save(update_fields=["worker", "api_key"])
    rows.failed(random.Random(77), state=State.RUNNING, error_code="").save(force_insert=True)
    monkeypatch.setattr(read, "EXACT_ROWS", 0)


def assert_equals_sql(selection: stats.Selection, slice_s: int) -> stats.Board:
    """Counts and sums are SQL's own, percentiles within 1 % of nearest-rank over the values."""
    board = stats.board(selection, slice_s=slice_s)
    found = selection.rows().order_by()
    total = found.aggregate(
        n=Count("pk"), tokens=Sum("completion_tokens"), ttft=Max("ttft_us"), tpot=Max("tpot_us")
    )
    assert (board.requests, board.tokens) == (total["n"], total["tokens"] or 0)
    assert (board.ttft_us.max, board.tpot_us.max) == (total["ttft"], total["tpot"])
    assert board.unfinished == found.filter(state__in=stats.UNFINISHED).count()
    failed = found.filter(state__in=stats.ERRORS).values_list("error_code", flat=True)
    assert dict(board.errors) == Counter(failed)
    for name in ("ttft_us", "tpot_us"):
        assert_close(getattr(board, name), found, name)
    by_slot = Counter(
        int(at.timestamp()) // slice_s * slice_s
        for at in found.values_list("received_at", flat=True)
    )
    assert {b.start_s: b.requests for b in board.buckets} == dict(by_slot)
    for bucket in board.buckets[:3] + board.buckets[-3:]:
        part = selection.between(
            max(selection.since, plan.moment(bucket.start_s)),
            min(selection.until, plan.moment(bucket.start_s + slice_s)),
        ).rows()
        assert_close(bucket.ttft_us, part, "ttft_us")
        ended = part.filter(latency_us__isnull=False).aggregate(n=Count("pk"), q=Sum("queue_us"))
        if ended["n"]:
            assert bucket.phases.queue_us == pytest.approx(ended["q"] / ended["n"])
    for group in board.groups:
        own = found.filter(model_slug=group.model, preset_slug=group.preset)
        assert group.requests == own.count()
        assert_close(group.tpot_us, own, "tpot_us")
    ordered = found.filter(latency_us__isnull=False).order_by("-latency_us", "request_id")
    assert board.slowest == list(ordered.values_list("pk", flat=True)[: stats.LISTED])
    return board


def assert_close(summary: stats.Summary, found, column: str) -> None:
    values = found.filter(**{f"{column}__isnull": False}).order_by(column)
    exact = stats.Summary.of(list(values.values_list(column, flat=True)))
    assert summary.count == exact.count
    assert summary.mean == (None if exact.mean is None else pytest.approx(exact.mean))
    for name in ("p50", "p90", "p95", "p99"):
        expected = getattr(exact, name)
        found_ = getattr(summary, name)
        assert found_ == (None if expected is None else pytest.approx(expected, rel=0.0101))


def any_selection(rng: random.Random) -> stats.Selection:
    now = timezone.now()
    since = now - dt.timedelta(days=rng.random() * (DAYS + 1))
    until = since + (now - since) * rng.choice([1, 1, rng.random()])
    labels = {
        "model": ["", "", "qwen3-0.6b"],
        "preset": ["", "", "balanced"],
        "source": ["", "", "api"],
        "state": ["", "", "", "stop", "failed"],
        "worker": ["", "", "slot1@b"],
        "api_key": ["", "", "", "sk-one"],
    }
    return stats.Selection(
        since=since, until=until, **{name: rng.choice(values) for name, values in labels.items()}
    )


def test_any_window_of_any_labels_equals_sql(many):
    roll_up.roll_up(now=timezone.now(), overlap=AT_ONCE)
    rng = random.Random(11)
    inexact = 0
    for _ in range(25):
        slice_s = rng.choice([60, 1800, 3600, 10_800, 21_600, 86_400, 604_800])
        inexact += not assert_equals_sql(any_selection(rng), slice_s).is_exact
    assert inexact > 10, "most of these windows hold whole roll-ups"


def test_a_row_that_changes_or_comes_late_is_seen_at_once_and_after_the_next_run(many):
    roll_up.roll_up(overlap=AT_ONCE)
    now = timezone.now()
    whole = stats.Selection(since=now - dt.timedelta(days=6), until=now)
    old = Generation.objects.order_by("received_at")[40]
    Generation.objects.filter(pk=old.pk).update(state=State.FAILED, error_code="expired")
    late = rows.generation(random.Random(3), received_at=now - dt.timedelta(days=2, hours=3))
    late.save(force_insert=True)
    before = assert_equals_sql(whole, 21_600)
    roll_up.roll_up(overlap=AT_ONCE)
    assert not RollUpProgress.objects.get().changed_until < late.changed_at
    after = assert_equals_sql(whole, 21_600)
    assert (after.requests, after.errors) == (before.requests, before.errors)


def kept() -> list[tuple]:
    columns = [f.attname for f in RollUp._meta.concrete_fields if f.name not in ("id", "labels")]
    found = RollUp.objects.values_list(
        "labels__model_slug", "labels__state", "labels__worker", *columns
    )
    return sorted(tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in found)


def test_twice_bit_by_bit_and_from_nothing_are_the_same(many):
    now = timezone.now()
    for hours in range(24 * DAYS, -1, -5):
        roll_up.roll_up(now=now - dt.timedelta(hours=hours), overlap=AT_ONCE)
    roll_up.roll_up(now=now, overlap=AT_ONCE)
    first = kept()
    roll_up.roll_up(now=now)
    assert kept() == first
    call_command("rebuild_rollups", verbosity=0)
    hourly = [row for row in first if row[3] != plan.MINUTE]
    assert [row for row in kept() if row[3] != plan.MINUTE][: len(hourly)] == hourly


def test_minutes_are_not_kept_for_ever(many):
    roll_up.roll_up(overlap=AT_ONCE)
    oldest = RollUp.objects.filter(width_s=plan.MINUTE).order_by("start_s").first()
    assert oldest.start_s >= timezone.now().timestamp() - 3 * plan.DAY


@pytest.mark.django_db
def test_nothing_to_roll_up_is_no_error():
    assert roll_up.roll_up() == 0
    assert roll_up.rebuild() == 0
    now = timezone.now()
    board = stats.board(stats.Selection(since=now - dt.timedelta(days=3), until=now), slice_s=3600)
    assert board.requests == 0
