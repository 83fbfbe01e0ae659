"""The board's figures of a selection: totals, slices of time, models with presets, error codes.

Percentiles over measured values are nearest-rank: the smallest value with at least p % of all
values at or below it, so each is a value that was measured. Where a stretch of time holds more than
EXACT_ROWS requests they are taken from sketches instead, within 1 % of that value; counts, sums,
means and the largest value are exact in any case. Never is a percentile made of other percentiles.

What the figures mean is docs/measures.md's matter; how they look is left to dashboards.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from chatsite.generation.models import Generation
from chatsite.generation.stats import sketch
from chatsite.generation.stats.frame import FIGURES, SUMS, Figure, Frame
from chatsite.generation.stats.read import read
from chatsite.generation.stats.results import ERRORS, UNFINISHED, Board, Bucket, Group, Phases
from chatsite.generation.stats.selection import Selection
from chatsite.generation.stats.sketch import Ints
from chatsite.generation.stats.slowest import slowest
from chatsite.generation.stats.summary import PERCENTILES, Summary

LISTED = 10
"""How many of the slowest requests a board names."""


def board(selection: Selection, *, slice_s: int) -> Board:
    """The figures of a selection, in slices of `slice_s` seconds of Unix time."""
    entries = read(selection, slice_s=slice_s)
    slot_of = entries.start_s // slice_s
    slots = np.unique(slot_of)
    names = sorted({(labels.model, labels.preset) for labels in entries.labels})
    place = {name: at for at, name in enumerate(names)}
    group_of_label = np.array([place[la.model, la.preset] for la in entries.labels], np.int64)
    outcomes = _outcomes(entries)
    by_slot = _Tally.of(entries, np.searchsorted(slots, slot_of), len(slots))
    by_group = _Tally.of(entries, group_of_label[entries.label], len(names))
    whole = _Tally.of(entries, np.zeros(len(entries), np.int64), 1)
    starts = (slots * slice_s).tolist()
    groups = [
        by_group.group(at, name, outcomes) for at, name in enumerate(names) if by_group.requests(at)
    ]
    return Board(
        seconds=max(1.0, (selection.until - selection.since).total_seconds()),
        requests=whole.requests(0),
        unfinished=sum(group.unfinished for group in groups),
        tokens=whole.sum_of("tokens", 0),
        ttft_us=whole.summary("ttft", 0),
        tpot_us=whole.summary("tpot", 0),
        phases=whole.phases(0),
        buckets=[by_slot.bucket(at, start) for at, start in enumerate(starts)],
        groups=sorted(groups, key=lambda g: (-g.requests, g.model, g.preset)),
        errors=_errors(outcomes),
        slowest=slowest(selection, entries, count=LISTED),
        is_exact=entries.is_exact,
    )


Outcomes = dict[tuple[str, str, str, str], int]
"""How many requests by model, preset, state and error code."""


def _outcomes(entries: Frame) -> Outcomes:
    counts = np.bincount(entries.label, entries.sum_of("requests"), len(entries.labels))
    outcomes: Counter[tuple[str, str, str, str]] = Counter()
    for labels, count in zip(entries.labels, counts.tolist(), strict=True):
        outcomes[labels.model, labels.preset, labels.state, labels.error_code] += round(count)
    return outcomes


def _errors(outcomes: Outcomes) -> list[tuple[str, int]]:
    errors: Counter[str] = Counter()
    for (_model, _preset, state, code), count in outcomes.items():
        if state in ERRORS and count:
            errors[code or state] += count
    return sorted(errors.items(), key=lambda error: (-error[1], error[0]))


@dataclass(slots=True)
class _Tally:
    """Entries added up by owner: a slice, a group, or all of them."""

    sums: np.ndarray[Any, np.dtype[np.float64]]
    largest: dict[str, np.ndarray[Any, np.dtype[np.float64]]]
    counts: dict[str, list[int]]
    percentiles: dict[str, list[list[float]]]

    @classmethod
    def of(cls, entries: Frame, owner: Ints, owners: int) -> _Tally:
        columns = [np.bincount(owner, column, owners) for column in entries.sums.T]
        sums = np.column_stack(columns).astype(np.float64)
        tally = cls(sums, {}, {}, {})
        for name in FIGURES:
            figure = entries.figures[name]
            largest = np.zeros(owners)
            np.maximum.at(largest, owner, entries.largest[name])
            tally.largest[name] = largest
            of_value = owner[figure.owner]
            counted = np.bincount(of_value, figure.counts, owners).astype(np.int64)
            tally.counts[name] = counted.tolist()
            tally.percentiles[name] = _percentiles(figure, of_value, counted)
        return tally

    def sum_of(self, name: str, at: int) -> int:
        return round(float(self.sums[at, SUMS.index(name)]))

    def requests(self, at: int) -> int:
        return self.sum_of("requests", at)

    def summary(self, name: str, at: int) -> Summary:
        count = self.counts[name][at]
        if not count:
            return Summary()
        mean = self.sums[at, SUMS.index(f"{name}_us")].item() / count
        p50, p90, p95, p99 = self.percentiles[name][at]
        return Summary(count, mean, p50, p90, p95, p99, self.largest[name][at].item())

    def phases(self, at: int) -> Phases:
        def mean(sum_of: str, count_of: str = "finished") -> float | None:
            count = self.sum_of(count_of, at)
            return self.sum_of(sum_of, at) / count if count else None

        return Phases(
            queue_us=mean("queue_us"),
            prefill_us=mean("prefill_us"),
            decode_us=mean("decode_us"),
            recovery_us=mean("recovery_us"),
            delivery_us=mean("delivery_us", "delivered"),
        )

    def bucket(self, at: int, start_s: int) -> Bucket:
        return Bucket(
            start_s=start_s,
            requests=self.requests(at),
            tokens=self.sum_of("tokens", at),
            ttft_us=self.summary("ttft", at),
            tpot_us=self.summary("tpot", at),
            phases=self.phases(at),
        )

    def group(self, at: int, name: tuple[str, str], outcomes: Outcomes) -> Group:
        unfinished = errors = 0
        for (model, preset, state, _code), count in outcomes.items():
            if (model, preset) == name:
                unfinished += count if state in UNFINISHED else 0
                errors += count if state in ERRORS else 0
        return Group(
            model=name[0],
            preset=name[1],
            requests=self.requests(at),
            unfinished=unfinished,
            errors=errors,
            tokens=self.sum_of("tokens", at),
            ttft_us=self.summary("ttft", at),
            tpot_us=self.summary("tpot", at),
        )


def _percentiles(figure: Figure, owner: Ints, counts: Ints) -> list[list[float]]:
    """PERCENTILES by owner; meaningless for one without values."""
    if figure.values is None:
        found: list[list[float]] = sketch.percentiles(
            owner, figure.keys, figure.counts, of=len(counts)
        ).tolist()
        return found
    ordered = figure.values[np.lexsort((figure.values, owner))]
    if not len(ordered):
        return [[0.0] * len(PERCENTILES)] * len(counts)
    ends = counts.cumsum()
    ranks = [-(-counts * p // 100) - 1 for p in PERCENTILES]  # in whole numbers: 0.07 * 100 > 7
    picked = [ordered[(ends - counts + rank).clip(0, len(ordered) - 1)].tolist() for rank in ranks]
    return [list(of_owner) for of_owner in zip(*picked, strict=True)]


def now_in_states() -> dict[str, int]:
    """How many requests of the whole site wait and run at this moment."""
    unfinished = Generation.objects.filter(state__in=UNFINISHED).order_by()
    states = Counter(unfinished.values_list("state", flat=True))
    running = states.pop(Generation.State.RUNNING, 0)
    return {"running": running, "waiting": states.total()}
