"""The sums of docs/measures.md (One request), for any timeline a request can have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsite.generation.figures import AttemptTimeline, figures_of, nearest_rank
from inference.contract import Stamp
from tests.chatsite.generation.timelines import BOOT, RECEIVED, after, timelines


@given(timelines())
def test_the_identities_hold_exactly_in_whole_microseconds(attempts: list[AttemptTimeline]) -> None:
    figures = figures_of(RECEIVED, attempts)
    sampled = sum(len(a.tokens) for a in attempts)
    if not sampled:
        assert figures.ttft_us is figures.latency_us is figures.tpot_us is None
        return
    assert figures.ttft_us == figures.queue_us + figures.prefill_us
    assert figures.latency_us == figures.ttft_us + figures.decode_us + figures.recovery_us
    assert len(figures.token_offsets_us) == sampled
    recoveries = sum(1 for a in attempts if a.tokens) - 1
    steps = sampled - 1 - recoveries
    if steps:
        assert figures.tpot_us == pytest.approx(figures.decode_us / steps)
    else:
        assert figures.tpot_us is None


def test_latency_is_ttft_plus_tpot_times_the_tokens_after_the_first() -> None:
    tokens = [after(ms * 1_000_000) for ms in (200, 220, 240, 260, 280)]
    figures = figures_of(RECEIVED, [AttemptTimeline(1, "w", after(1), after(50_000_000), tokens)])
    assert (figures.queue_us, figures.prefill_us, figures.ttft_us) == (50_000, 150_000, 200_000)
    assert figures.tpot_us == 20_000
    assert figures.latency_us == 200_000 + 20_000 * 4


def test_an_outage_is_recovery_and_no_part_of_tpot() -> None:
    first = AttemptTimeline(1, "a", after(0), after(0), [after(10**8), after(2 * 10**8)])
    second = AttemptTimeline(
        2, "b", after(7 * 10**9), after(7 * 10**9), [after(8 * 10**9), after(81 * 10**8)]
    )
    figures = figures_of(RECEIVED, [first, second])
    assert figures.recovery_us == 7_800_000
    assert figures.tpot_us == 100_000
    assert figures.ttft_us == 100_000


def test_a_request_that_was_never_admitted_has_no_figures_rather_than_zeros() -> None:
    figures = figures_of(RECEIVED, [])
    assert figures.queue_us is None and figures.ttft_us is None and figures.recovery_us is None


def test_clocks_of_two_hosts_are_marked_and_never_run_backwards() -> None:
    other = Stamp(wall_us=RECEIVED.wall_us - 5_000_000, mono_ns=77, boot="another-boot")
    figures = figures_of(
        RECEIVED, [AttemptTimeline(1, "w", other, other, [other, other.at_mono(10**7)])]
    )
    assert not figures.is_exact
    assert figures.ttft_us == 0 and figures.latency_us >= 0


def test_a_wall_clock_that_jumps_changes_nothing_within_one_boot() -> None:
    jumped = Stamp(RECEIVED.wall_us - 3_600_000_000, RECEIVED.mono_ns + 250_000_000, BOOT)
    figures = figures_of(RECEIVED, [AttemptTimeline(1, "w", jumped, jumped, [jumped])])
    assert figures.ttft_us == 250_000 and figures.is_exact


@given(st.lists(st.integers(0, 10**6), min_size=1), st.floats(0.01, 1.0))
def test_nearest_rank_is_the_smallest_value_that_covers_the_share(
    values: list[int], share: float
) -> None:
    ordered = sorted(values)
    found = nearest_rank(ordered, share)
    assert sum(v <= found for v in ordered) >= share * len(ordered) - 1e-9
    assert found in ordered
