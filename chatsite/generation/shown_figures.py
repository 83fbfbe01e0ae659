"""The figures of one request as pages and scripts get them, in ms under docs/measures.md's names.

Nothing is rounded here: who writes a figure rounds it, once (chatsite.figure_format).
"""

from __future__ import annotations

from typing import TypedDict

from chatsite.generation.models import Generation
from chatsite.generation.segments import Segment, segments_of


class ShownFigures(TypedDict):
    """None is "not reached"."""

    submitted_ms: float | None
    started_ms: float | None
    queue_ms: float | None
    prefill_ms: float | None
    ttft_ms: float | None
    decode_ms: float | None
    recovery_ms: float | None
    latency_ms: float | None
    tpot_ms: float | None
    itl_p50_ms: float | None
    itl_p95_ms: float | None
    itl_max_ms: float | None
    user_ttft_ms: float | None
    user_latency_ms: float | None
    delivery_ms: float | None
    decode_tokens_per_s: float | None
    roofline: float | None
    segments: list[Segment]
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    batch_mean: float | None
    attempts: int
    is_exact: bool
    dtype: str
    device: str
    model: str
    preset: str


def figures_ms(generation: Generation) -> ShownFigures:
    """The figures that people see of this request."""
    tpot, floor = generation.tpot_us, generation.tpot_floor_us
    return {
        "submitted_ms": _ms(generation.submitted_us),
        "started_ms": _ms(generation.started_us),
        "queue_ms": _ms(generation.queue_us),
        "prefill_ms": _ms(generation.prefill_us),
        "ttft_ms": _ms(generation.ttft_us),
        "decode_ms": _ms(generation.decode_us),
        "recovery_ms": _ms(generation.recovery_us),
        "latency_ms": _ms(generation.latency_us),
        "tpot_ms": _ms(tpot),
        "itl_p50_ms": _ms(generation.itl_p50_us),
        "itl_p95_ms": _ms(generation.itl_p95_us),
        "itl_max_ms": _ms(generation.itl_max_us),
        "user_ttft_ms": _ms(generation.user_ttft_us),
        "user_latency_ms": _ms(generation.user_latency_us),
        "delivery_ms": _ms(generation.delivery_us),
        "decode_tokens_per_s": 1e6 / tpot if tpot else None,
        "roofline": _share(floor, tpot),
        "segments": segments_of(generation),
        "prompt_tokens": generation.prompt_tokens,
        "cached_tokens": generation.cached_tokens,
        "completion_tokens": generation.completion_tokens,
        "batch_mean": generation.batch_mean,
        "attempts": generation.attempts_used,
        "is_exact": generation.is_exact,
        "dtype": generation.dtype,
        "device": generation.device,
        "model": generation.model_slug,
        "preset": generation.preset_slug,
    }


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1000


def _share(floor_us: float | None, measured_us: float | None) -> float | None:
    """Floor over measured; None where one isn't known or the floor can't be right."""
    if not floor_us or not measured_us or floor_us > measured_us:
        return None
    return floor_us / measured_us
