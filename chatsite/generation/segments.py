"""The stretches of time that an answer's latency is made of, one behind the other.

web + queue = queue_us (received → admitted), then prefill up to TTFT, decode, and recovery, which
stands at the end though it lay somewhere in the decode: the sum is the latency. The request page
has the stretches in their true places (chatsite.dashboards.latency.waterfall).
"""

from __future__ import annotations

from dataclasses import dataclass

from chatsite.generation.models import Generation


@dataclass(frozen=True, slots=True)
class Segment:
    """`kind` is "web", "queue", "prefill", "decode" or "recovery"; times are ms since received."""

    kind: str
    start_ms: float
    length_ms: float


def segments_of(generation: Generation) -> list[Segment]:
    """The segments of an answer that has its first token; none before that."""
    queue, prefill, decode = generation.queue_us, generation.prefill_us, generation.decode_us
    if queue is None or prefill is None or decode is None:
        return []
    web = min(generation.submitted_us or 0, queue)
    lengths_us = {"web": web, "queue": queue - web, "prefill": prefill, "decode": decode}
    if generation.recovery_us:
        lengths_us["recovery"] = generation.recovery_us
    segments, at_us = [], 0
    for kind, length_us in lengths_us.items():
        segments.append(Segment(kind, at_us / 1000, length_us / 1000))
        at_us += length_us
    return segments
