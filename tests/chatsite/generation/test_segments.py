"""The stretches that the chat draws as an answer's waterfall."""

from __future__ import annotations

from chatsite.generation.models import Generation
from chatsite.generation.segments import Segment, segments_of


def test_the_segments_lie_behind_each_other_and_add_up_to_the_latency() -> None:
    row = Generation(
        submitted_us=4_000, queue_us=11_000, prefill_us=90_000, ttft_us=101_000, decode_us=700_500,
        recovery_us=2_000_000, latency_us=2_801_500,
    )  # fmt: skip
    segments = segments_of(row)
    assert [(s.kind, s.start_ms, s.length_ms) for s in segments] == [
        ("web", 0, 4), ("queue", 4, 7), ("prefill", 11, 90), ("decode", 101, 700.5),
        ("recovery", 801.5, 2000),
    ]  # fmt: skip
    assert segments[-1].start_ms + segments[-1].length_ms == 2801.5


def test_an_answer_that_was_submitted_after_it_was_admitted_waited_on_the_web_alone() -> None:
    row = Generation(submitted_us=9, queue_us=5, prefill_us=1, decode_us=0)
    assert segments_of(row)[:2] == [Segment("web", 0, 0.005), Segment("queue", 0.005, 0)]


def test_before_the_first_token_there_are_none() -> None:
    assert segments_of(Generation(submitted_us=4_000, queue_us=11_000)) == []
