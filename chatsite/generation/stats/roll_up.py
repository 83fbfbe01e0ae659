"""Makes roll-ups of requests: by minute, hour, quarter of a day and day.

A roll-up is always made whole, in the transaction that takes its forerunner away, from what the
database holds then: so doing it twice, or being killed in between, changes nothing. Hours and
minutes are made of the requests' rows, quarters and days of hours.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone

from chatsite.generation.models import Generation, LabelSet, RollUp, RollUpProgress
from chatsite.generation.stats import frame, sketch
from chatsite.generation.stats.frame import LARGEST, SUMS, Frame, Labels
from chatsite.generation.stats.plan import DAY, HOUR, MINUTE, QUARTER, WIDTHS, Stretch, moment
from chatsite.generation.stats.read import (
    first_received,
    label_sets,
    roll_ups_of,
    rows_of,
    stale_minutes,
)

OVERLAP = dt.timedelta(minutes=2)
"""Rows changed so shortly before a run may have been committed after it looked: the next run looks
at them again, and until then boards read them from the rows.
"""
ID_LIMIT = 10**9  # of label sets: there are some hundred
MINUTES_KEPT_S = 2 * DAY
PRUNE_AFTER_S = HOUR
"""Minutes that aren't used any more stay so long, for boards that just began to read them."""


def roll_up(*, now: dt.datetime | None = None, overlap: dt.timedelta = OVERLAP) -> int:
    """Bring all roll-ups up to `now`. Gives the number of roll-ups written.

    The first run makes those of all requests there are, which takes some seconds for each million.
    """
    now = now or timezone.now()
    until = int(now.timestamp()) // MINUTE * MINUTE
    progress = RollUpProgress.objects.first()
    if progress is None:
        first = first_received()
        rolled_until = until if first is None else int(first.timestamp()) // DAY * DAY
        stale: list[int] = []
    else:
        rolled_until = progress.until_s
        stale = [s for s in stale_minutes(progress.changed_until) if s < rolled_until]
    minutes_from = max(0, until - MINUTES_KEPT_S)
    until = max(until, rolled_until)
    written = dict.fromkeys(WIDTHS, 0)
    for since, to in _due(HOUR, stale, rolled_until, until):
        for start in range(since, to, DAY):
            stretch = (start, min(start + DAY, to))
            entries = _rows(stretch)
            written[HOUR] += _replace(HOUR, stretch, entries)
            if stretch[1] > minutes_from:
                written[MINUTE] += _replace(MINUTE, stretch, entries)
    whole_hours = until // HOUR * HOUR
    loose = [s for s in stale if s >= whole_hours]
    for stretch in _due(MINUTE, loose, max(rolled_until, whole_hours), until):
        written[MINUTE] += _replace(MINUTE, stretch, _rows(stretch))
    for width in (QUARTER, DAY):
        for stretch in _due(width, stale, rolled_until, until):
            written[width] += _replace(width, stretch, _hours(stretch))
    _note_progress(
        progress,
        until_s=until,
        changed_until=now - overlap,
        minutes_from_s=minutes_from,
        written=(progress.written if progress else {})
        | {str(width): time.time_ns() // 1000 for width in WIDTHS if written[width]},
    )
    RollUp.objects.filter(width_s=MINUTE, start_s__lt=minutes_from - PRUNE_AFTER_S).delete()
    return sum(written.values())


def rebuild() -> int:
    """Make all roll-ups anew, from nothing. Boards read the rows meanwhile."""
    RollUpProgress.objects.all().delete()
    RollUp.objects.all().delete()
    LabelSet.objects.all().delete()
    return roll_up()


def _due(width: int, stale: Iterable[int], rolled_until: int, until: int) -> list[Stretch]:
    """Whole units of that width that have a stale minute or were closed since, as stretches."""
    last = until // width * width
    starts = {minute // width * width for minute in stale}
    starts.update(range(rolled_until // width * width, last, width))
    stretches: list[Stretch] = []
    for start in sorted(start for start in starts if start < last):
        if stretches and stretches[-1][1] == start:
            stretches[-1] = (stretches[-1][0], start + width)
        else:
            stretches.append((start, start + width))
    return stretches


def _rows(stretch: Stretch) -> Frame:
    since, until = (moment(at) for at in stretch)
    rows = Generation.objects.filter(received_at__gte=since, received_at__lt=until)
    return rows_of(rows, width_s=MINUTE)


def _hours(stretch: Stretch) -> Frame:
    names = label_sets(is_brief=False)
    return frame.of_roll_ups(roll_ups_of(HOUR, [stretch], names.keys()), names, width_s=HOUR)


def _replace(width: int, stretch: Stretch, entries: Frame) -> int:
    """Write the roll-ups of that width in a stretch of time; `entries` are all its requests."""
    made = _made(width, entries) + _made(width, entries.brief())
    with transaction.atomic():
        since, until = stretch
        RollUp.objects.filter(width_s=width, start_s__gte=since, start_s__lt=until).delete()
        RollUp.objects.bulk_create(made, batch_size=500)
    return len(made)


def _made(width: int, entries: Frame) -> list[RollUp]:
    if not len(entries):
        return []
    ids = np.array(_ids(entries.labels), np.int64)[entries.label]
    pair, owner = np.unique(entries.start_s // width * ID_LIMIT + ids, return_inverse=True)
    units = len(pair)
    sums = np.column_stack([np.bincount(owner, column, units) for column in entries.sums.T])
    columns: dict[str, list[Any]] = {}
    for name, column in zip(SUMS, sums.T, strict=True):
        columns[name] = column.tolist() if name == "tpot_us" else column.astype(np.int64).tolist()
    for name in LARGEST:
        largest = np.zeros(units)
        np.maximum.at(largest, owner, entries.largest[name])
        columns[f"{name}_max_us"] = (
            largest.tolist() if name == "tpot" else largest.astype(np.int64).tolist()
        )
    sketches = {
        f"{name}_sketch": sketch.pack(owner[f.owner], f.keys, f.counts, of=units)
        for name, f in entries.figures.items()
    }
    values = zip(*columns.values(), *sketches.values(), strict=True)
    names = (*columns, *sketches)
    starts, labels = (pair // ID_LIMIT * width).tolist(), (pair % ID_LIMIT).tolist()
    return [
        RollUp(width_s=width, start_s=start, labels_id=label, **dict(zip(names, row, strict=True)))
        for start, label, row in zip(starts, labels, values, strict=True)
    ]


def _ids(labels: list[Labels]) -> list[int]:
    """The ids of these label sets' rows, made where they weren't there."""
    sets = label_sets(is_brief=False) | label_sets(is_brief=True)
    known = {names: label_id for label_id, names in sets.items()}
    new = [names for names in labels if names not in known]
    if new:
        LabelSet.objects.bulk_create(
            [LabelSet(**dict(zip(LabelSet.NAMES, names, strict=True))) for names in new],
            ignore_conflicts=True,
        )
        return _ids(labels)
    return [known[names] for names in labels]


def _note_progress(before: RollUpProgress | None, **now: Any) -> None:
    """Store how far the roll-ups are complete, unless they are being rebuilt meanwhile."""
    if before is None:
        RollUpProgress.objects.update_or_create(pk=1, defaults=now)
    else:
        RollUpProgress.objects.filter(pk=before.pk).update(**now)
