"""Requests as columns: rows of the database, or roll-ups of them, in one shape that adds up.

An entry is either one request or one roll-up. Times are in µs; what an entry lacks counts zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsite.generation.models import ANY
from chatsite.generation.stats import sketch
from chatsite.generation.stats.sketch import Floats, Ints

SUMS = (
    "requests", "tokens", "finished", "queue_us", "prefill_us", "decode_us", "recovery_us",
    "delivered", "delivery_us", "ttft_us", "tpot_us",
)  # fmt: skip
FIGURES = ("ttft", "tpot")


class Labels(NamedTuple):
    """What tells requests apart: LabelSet.NAMES in their order."""

    model: str
    preset: str
    worker: str
    source: str
    state: str
    api_key: str
    error_code: str


@dataclass(slots=True)
class Figure:
    """One figure's values by entry (`owner`): measured `values`, else the bins of sketches."""

    owner: Ints
    values: npt.NDArray[Any] | None
    keys: Ints
    counts: Ints

    @classmethod
    def measured(cls, column: Sequence[float | None], dtype: type) -> Figure:
        """Of one request per entry; None is a request without the figure."""
        values = np.array(column, np.float64)
        owner = np.flatnonzero(~np.isnan(values))
        values = values[owner].astype(dtype)
        return cls(owner, values, sketch.keys_of(values), np.ones(len(values), np.int64))

    @classmethod
    def sketched(cls, sketches: Sequence[bytes]) -> Figure:
        """Of one sketch per entry."""
        owner, keys, counts = sketch.unpack(sketches)
        return cls(owner, None, keys, counts)

    def after(self, other: Figure, entries: int) -> Figure:
        """The entries of `other`, of which there are `entries`, and then these."""
        both = self.values is not None and other.values is not None
        return Figure(
            np.concatenate((other.owner, self.owner + entries)),
            np.concatenate((other.values, self.values)) if both else None,  # type: ignore[arg-type]
            np.concatenate((other.keys, self.keys)),
            np.concatenate((other.counts, self.counts)),
        )


@dataclass(slots=True)
class Frame:
    """Entries, column by column. `label` points into `labels`; `sums` has a column per SUMS."""

    start_s: Ints
    width_s: Ints
    label: Ints
    labels: list[Labels]
    sums: Floats
    largest: dict[str, Floats]  # of "ttft", "tpot" and "latency"
    figures: dict[str, Figure]

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def is_exact(self) -> bool:
        """Whether all values are measured ones, none a bin."""
        return all(figure.values is not None for figure in self.figures.values())

    def brief(self) -> Frame:
        """The same entries under labels of any worker and any API key."""
        return replace(self, labels=[la._replace(worker=ANY, api_key=ANY) for la in self.labels])

    def sum_of(self, name: str) -> Floats:
        column: Floats = self.sums[:, SUMS.index(name)]
        return column

    def after(self, other: Frame) -> Frame:
        """The entries of `other`, then these."""
        places = {labels: place for place, labels in enumerate(other.labels)}
        moved = [places.setdefault(labels, len(places)) for labels in self.labels]
        return Frame(
            np.concatenate((other.start_s, self.start_s)),
            np.concatenate((other.width_s, self.width_s)),
            np.concatenate((other.label, np.array(moved, np.int64)[self.label])),
            list(places),
            np.concatenate((other.sums, self.sums)),
            {name: np.concatenate((other.largest[name], self.largest[name])) for name in LARGEST},
            {name: self.figures[name].after(other.figures[name], len(other)) for name in FIGURES},
        )


LARGEST = (*FIGURES, "latency")


def empty() -> Frame:
    """No entries, of which everything is known exactly."""
    none: Ints = np.zeros(0, np.int64)
    return Frame(
        none,
        none,
        none,
        [],
        np.zeros((0, len(SUMS))),
        {name: np.zeros(0) for name in LARGEST},
        {name: Figure(none, np.zeros(0), none, none) for name in FIGURES},
    )


def of_requests(rows: Sequence[tuple[Any, ...]], *, width_s: int) -> Frame:
    """Of rows of (number of its slot of `width_s` seconds, *Labels, queue, ttft, decode, latency,
    tpot, user latency, tokens).
    """
    if not rows:
        return empty()
    start, *texts, queue, ttft, decode, latency, tpot, seen, tokens = zip(*rows, strict=True)
    places: dict[tuple[str, ...], int] = {}
    label = [places.setdefault(labels, len(places)) for labels in zip(*texts, strict=True)]
    q, t, d, v, p, s, n = (
        np.array(column, np.float64)
        for column in (queue, ttft, decode, latency, tpot, seen, tokens)
    )
    ended, has_paint = ~np.isnan(v), ~np.isnan(s) & ~np.isnan(v)
    columns = {
        "requests": np.ones(len(rows)),
        "tokens": np.nan_to_num(n),
        "finished": ended,
        "queue_us": np.where(ended, q, 0),
        "prefill_us": np.where(ended, t - q, 0),
        "decode_us": np.where(ended, d, 0),
        "recovery_us": np.where(ended, v - t - d, 0),
        "delivered": has_paint,
        "delivery_us": np.where(has_paint, s - v, 0),
        "ttft_us": np.nan_to_num(t),
        "tpot_us": np.nan_to_num(p),
    }
    return Frame(
        np.array(start, np.int64) * width_s,
        np.full(len(rows), width_s),
        np.array(label, np.int64),
        [Labels(*labels) for labels in places],
        np.column_stack([columns[name] for name in SUMS]).astype(np.float64),
        {"ttft": np.nan_to_num(t), "tpot": np.nan_to_num(p), "latency": np.nan_to_num(v)},
        {"ttft": Figure.measured(ttft, np.int64), "tpot": Figure.measured(tpot, np.float64)},
    )


def of_roll_ups(
    rows: Sequence[tuple[Any, ...]], names: dict[int, Labels], *, width_s: int
) -> Frame:
    """Of rows of (start_s, labels id, *SUMS, largest of LARGEST, TTFT's and TPOT's sketch)."""
    if not rows:
        return empty()
    start, label_ids, *numbers, ttft, tpot = zip(*rows, strict=True)
    places = {label_id: place for place, label_id in enumerate(names)}
    sums = np.column_stack([np.array(column, np.float64) for column in numbers])
    return Frame(
        np.array(start, np.int64),
        np.full(len(rows), width_s),
        np.array([places[label_id] for label_id in label_ids], np.int64),
        list(names.values()),
        sums[:, : len(SUMS)],
        {name: sums[:, len(SUMS) + place] for place, name in enumerate(LARGEST)},
        {"ttft": Figure.sketched(ttft), "tpot": Figure.sketched(tpot)},
    )
