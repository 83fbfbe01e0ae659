"""From stamps to figures: the arithmetic of docs/measures.md (One request), and nothing else.

Every moment becomes whole microseconds since `received` first, and every figure is a difference of
those, so that ttft = queue + prefill and latency = ttft + decode + recovery hold exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

from inference.contract import Stamp, offset_us


@dataclass
class AttemptTimeline:
    """The stamps of one try. `tokens` has one stamp per token this try sampled."""

    number: int
    worker: str = ""
    started: Stamp | None = None
    admitted: Stamp | None = None
    tokens: list[Stamp] = field(default_factory=list)


@dataclass
class Figures:
    """Figures of one request in µs, None where undefined. Field names are metrics.Generation's."""

    is_exact: bool = True
    started_us: int | None = None
    queue_us: int | None = None
    prefill_us: int | None = None
    ttft_us: int | None = None
    decode_us: int | None = None
    recovery_us: int | None = None
    latency_us: int | None = None
    tpot_us: float | None = None
    itl_p50_us: int | None = None
    itl_p95_us: int | None = None
    itl_max_us: int | None = None
    token_offsets_us: list[int] = field(default_factory=list)

    def as_row(self) -> dict[str, object]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def figures_of(received: Stamp, attempts: Sequence[AttemptTimeline]) -> Figures:
    """The figures of a request whose tries are given in order.

    The first try that sampled a token gives queue, prefill and TTFT. The time between the last
    token of a lost try and the first of the next is recovery and no part of TPOT.
    """
    result = Figures()

    def at(moment: Stamp) -> int:
        offset, exact = offset_us(received, moment)
        result.is_exact &= exact
        return offset

    if started := next((a.started for a in attempts if a.started), None):
        result.started_us = at(started)
    written = [a for a in attempts if a.tokens]
    if not written:
        if admitted := next((a.admitted for a in attempts if a.admitted), None):
            result.queue_us = at(admitted)
        return result

    runs: list[list[int]] = []
    latest = 0
    for attempt in written:  # clocks of two hosts may disagree: an answer never runs backwards
        run = []
        for stamp in attempt.tokens:
            latest = max(latest, at(stamp))
            run.append(latest)
        runs.append(run)

    result.ttft_us = runs[0][0]
    if written[0].admitted is not None:
        result.queue_us = min(at(written[0].admitted), result.ttft_us)
        result.prefill_us = result.ttft_us - result.queue_us
    else:
        result.queue_us, result.prefill_us = 0, result.ttft_us
    result.latency_us = runs[-1][-1]
    result.recovery_us = sum(after[0] - before[-1] for before, after in pairwise(runs))
    result.decode_us = result.latency_us - result.ttft_us - result.recovery_us
    gaps = sorted(b - a for run in runs for a, b in pairwise(run))
    if gaps:
        result.tpot_us = result.decode_us / len(gaps)
        result.itl_p50_us = nearest_rank(gaps, 0.50)
        result.itl_p95_us = nearest_rank(gaps, 0.95)
        result.itl_max_us = gaps[-1]
    result.token_offsets_us = [offset for run in runs for offset in run]
    return result


def nearest_rank(ordered: Sequence[int], share: float) -> int:
    """The smallest value with at least `share` of all values at or below it. `ordered` ascends."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
