"""Where one request's time went: its stamps as bars on one axis.

Bars start at `received` on the site's clock. The browser's bars are durations on its own clock from
its own `sent`; the two origins can't be compared, so they stand in lanes of their own that start at
zero, and what the browser saw beyond the site's latency is the delivery. A stretch between two
stamps with a missing one between them is "unattributed".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypedDict

from django.utils.translation import gettext as _

from chatsite.generation.models import Attempt, Generation


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of time. `kind` names its colour; `left` and `width` are percent of the axis."""

    kind: str
    label: str
    start_us: int
    end_us: int
    left: float = 0.0
    width: float = 0.0

    @property
    def length_us(self) -> int:
        return self.end_us - self.start_us


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of the waterfall. `total_us` is what its bars add up to, unless they are moments."""

    name: str
    note: str
    bars: list[Bar]

    @property
    def total_us(self) -> int:
        return sum(bar.length_us for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Waterfall:
    """All lanes on one axis that ends at `end_us`."""

    lanes: list[Lane]
    end_us: int
    ticks: list[tuple[float, int]]  # percent of the axis, µs


def waterfall(generation: Generation, attempts: Sequence[Attempt]) -> Waterfall:
    """The lanes of an ended or running request. Needs at least `received`, which every one has."""
    lanes = [
        Lane(name, note, bars) for name, note, bars in _site_lanes(generation, attempts) if bars
    ]
    lanes += _browser_lanes(generation)
    end_us = max((bar.end_us for lane in lanes for bar in lane.bars), default=0)
    scale = 100 / end_us if end_us else 0
    placed = [
        Lane(
            lane.name,
            lane.note,
            [
                Bar(
                    bar.kind,
                    bar.label,
                    bar.start_us,
                    bar.end_us,
                    round(bar.start_us * scale, 3),
                    round(max(bar.length_us * scale, 0.15), 3),
                )
                for bar in lane.bars
            ],
        )
        for lane in lanes
    ]
    return Waterfall(placed, end_us, _ticks(end_us))


def _site_lanes(
    generation: Generation, attempts: Sequence[Attempt]
) -> list[tuple[str, str, list[Bar]]]:
    stored = None
    if generation.stored_at is not None:
        since = generation.stored_at - generation.received_at
        stored = max(round(since.total_seconds() * 1e6), generation.latency_us or 0)
    queue, ttft, latency = generation.queue_us, generation.ttft_us, generation.latency_us
    lost_at = _outages(attempts) if generation.recovery_us else []
    decode = _decode_bars(ttft, latency, lost_at)
    return [
        (_("Queue"), _("received → admitted"), _queue_bars(generation, stored)),
        (
            _("Prefill"),
            _("admitted → first token"),
            _bars(("prefill", _("reading the prompt"), queue, ttft)),
        ),
        (_("Decode"), _("first → last token"), decode),
        (
            _("Store"),
            _("last token → stored"),
            _bars(("store", _("written to the database"), latency, stored)),
        ),
    ]


def _queue_bars(generation: Generation, stored: int | None) -> list[Bar]:
    """Received → submitted → started → admitted; a gap over a missing stamp is unattributed."""
    chain = [
        (0, "", ""),
        (generation.submitted_us, "web", _("web: stored and put on the queue")),
        (generation.started_us, "queue", _("waiting for a worker")),
        (generation.queue_us, "admit", _("worker: waiting for a place in the batch")),
    ]
    known = [
        (index, us, kind, label) for index, (us, kind, label) in enumerate(chain) if us is not None
    ]
    bars = []
    for (before, start, _k, _l), (after, end, kind, label) in pairwise(known):
        if after != before + 1:
            kind, label = "unattributed", _("unattributed: no stamp in between")
        bars.append(Bar(kind, label, start, max(start, end)))
    last = bars[-1].end_us if bars else 0
    if generation.queue_us is None and stored is not None and stored > last:
        label = _("unattributed: never admitted, until it was stored as ended")
        bars.append(Bar("unattributed", label, last, stored))
    return bars


def _outages(attempts: Sequence[Attempt]) -> list[tuple[int, int]]:
    """Last token of a lost attempt → first token of the next one that wrote."""
    wrote = [
        (attempt.first_token_us, attempt.last_token_us)
        for attempt in attempts
        if attempt.first_token_us is not None and attempt.last_token_us is not None
    ]
    return [(last, first) for (_first, last), (first, _last) in pairwise(wrote)]


def _decode_bars(
    ttft: int | None, latency: int | None, outages: list[tuple[int, int]]
) -> list[Bar]:
    if ttft is None or latency is None:
        return []
    bars, at = [], ttft
    for lost, again in outages:
        bars += _bars(("decode", _("writing"), at, lost))
        bars += _bars(("recovery", _("recovery: the worker was lost"), lost, again))
        at = again
    return bars + _bars(("decode", _("writing"), at, latency))


def _browser_lanes(generation: Generation) -> list[Lane]:
    first, last = generation.user_ttft_us, generation.user_latency_us
    if first is None or last is None:
        return []
    lanes = [
        Lane(
            _("Browser"),
            _("sent → first paint → last paint, its own clock"),
            [
                Bar("waiting", _("sent → first paint"), 0, first),
                Bar("painting", _("first paint → last paint"), first, last),
            ],
        )
    ]
    latency = generation.latency_us
    if latency is not None and last > latency:
        label = _("network, web and browser; not divided further by any stamp")
        bar = Bar("unattributed", label, latency, last)
        lanes.append(Lane(_("Delivery"), _("what the browser saw beyond the latency"), [bar]))
    return lanes


def _bars(bar: tuple[str, str, int | None, int | None]) -> list[Bar]:
    kind, label, start, end = bar
    return [] if start is None or end is None else [Bar(kind, label, start, max(start, end))]


def _ticks(end_us: int) -> list[tuple[float, int]]:
    """Four to nine round moments along the axis."""
    if end_us <= 0:
        return []
    power = 10 ** max(0, math.floor(math.log10(end_us / 9)))
    step = next(power * m for m in (1, 2, 5, 10) if end_us / (power * m) <= 9)
    return [(round(at * 100 / end_us, 3), at) for at in range(0, end_us + 1, step)]


class Formula(TypedDict):
    """Latency = TTFT + TPOT × steps + recovery. `steps` is n − 1 less one for each recovery."""

    ttft_us: int
    tpot_us: float
    tokens: int
    steps: int
    recoveries: int
    recovery_us: int
    latency_us: int


def formula(generation: Generation) -> Formula | None:
    """The numbers of the formula; None before there are any."""
    ttft, tpot, decode = generation.ttft_us, generation.tpot_us, generation.decode_us
    latency, tokens = generation.latency_us, generation.completion_tokens
    if not tpot or ttft is None or decode is None or latency is None or tokens is None:
        return None
    steps = round(decode / tpot)
    return Formula(
        ttft_us=ttft,
        tpot_us=tpot,
        tokens=tokens,
        steps=steps,
        recoveries=tokens - 1 - steps,
        recovery_us=generation.recovery_us or 0,
        latency_us=latency,
    )
