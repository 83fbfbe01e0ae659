"""Reads requests from their rows and from roll-ups, as plan.py says, into one frame."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.db.models import Field, Func, Min, QuerySet

from chatsite.generation.models import ANY, Generation, LabelSet, RollUp, RollUpProgress
from chatsite.generation.stats import frame, plan
from chatsite.generation.stats.frame import LARGEST, SUMS, Frame, Labels
from chatsite.generation.stats.plan import MINUTE, Plan, Rolled
from chatsite.generation.stats.selection import Selection

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

EXACT_ROWS = 20_000
"""A stretch of time with no more requests is read from their rows, so its percentiles are exact."""

ROW_COLUMNS = (
    *LabelSet.NAMES, "queue_us", "ttft_us", "decode_us", "latency_us", "tpot_us",
    "user_latency_us", "completion_tokens",
)  # fmt: skip
ROLL_UP_COLUMNS = (
    "start_s", "labels_id", *SUMS, *(f"{name}_max_us" for name in LARGEST), "ttft_sketch",
    "tpot_sketch",
)  # fmt: skip


CHUNK = 5_000
"""Rows fetched at once: Django's hundred cost as much again."""

MOST_QUERIES = 12
"""For more stretches than that, all between the first and the last is read, and sorted out here."""
MOST_KEPT = 12
_kept: dict[tuple[Any, ...], Frame] = {}
_kept_lock = threading.Lock()


class TimeSlot(Func):
    """Which slice of `width_s` seconds of Unix time a moment lies in, told by the database."""

    output_field = Field()  # IntegerField's converter would call int() on each of 100,000 ints
    template = "FLOOR(EXTRACT(EPOCH FROM %(expressions)s) / %(width_s)d)::bigint"

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        template = "strftime('%%%%s', %(expressions)s) / %(width_s)d"
        return self.as_sql(compiler, connection, template=template, **context)


def read(selection: Selection, *, slice_s: int) -> Frame:
    """The requests of a selection.

    `start_s` of an entry lies in its slice of `slice_s` seconds.
    """
    everybody = Selection(since=selection.since, until=selection.until).rows().order_by()
    if everybody[: EXACT_ROWS + 1].count() <= EXACT_ROWS:
        found = Plan(rows=[(selection.since, selection.until)])
    else:
        now = rolled()
        found = plan.plan(selection.since, selection.until, slice_s=slice_s, rolled=now)
    whole = frame.empty()
    for since, until in found.rows:
        whole = rows_of(selection.between(since, until).rows(), width_s=slice_s).after(whole)
    for width, stretches in found.roll_ups.items():
        version = now.written.get(str(width), 0)
        whole = _roll_ups(selection.wanted, width, stretches, version).after(whole)
    return whole


def rows_of(rows: QuerySet[Generation], *, width_s: int) -> Frame:
    """One entry per request; its `start_s` is a multiple of `width_s`."""
    slot = TimeSlot("received_at", width_s=width_s)
    found = rows.order_by().values_list(slot, *ROW_COLUMNS)
    return frame.of_requests(list(found.iterator(CHUNK)), width_s=width_s)


def _roll_ups(
    wanted: dict[str, str], width: int, stretches: list[plan.Stretch], version: int
) -> Frame:
    """The roll-ups with these labels, kept until such roll-ups are written again: a board that is
    refreshed reads only the rest.
    """
    key = (width, version, tuple(stretches), tuple(sorted(wanted.items())))
    with _kept_lock:
        kept = _kept.pop(key, None)
    if kept is None:
        is_brief = not wanted.keys() & {"worker", "api_key"}
        names = label_sets(is_brief=is_brief, **wanted)
        rows = roll_ups_of(width, stretches, names.keys())
        kept = frame.of_roll_ups(rows, names, width_s=width)
    with _kept_lock:
        _kept[key] = kept  # the newest last
        while len(_kept) > MOST_KEPT:
            del _kept[next(iter(_kept))]
    return kept


def forget() -> None:
    """Read all roll-ups anew: for those who measure how long that takes."""
    with _kept_lock:
        _kept.clear()


def roll_ups_of(
    width: int, stretches: list[plan.Stretch], label_ids: Collection[int]
) -> list[tuple[Any, ...]]:
    """ROLL_UP_COLUMNS of the roll-ups of that width and these labels in ascending stretches."""
    if len(stretches) > MOST_QUERIES:
        starts = {start for a, b in stretches for start in range(a, b, width)}
        whole = [(stretches[0][0], stretches[-1][1])]
        return [row for row in roll_ups_of(width, whole, label_ids) if row[0] in starts]
    found: list[tuple[Any, ...]] = []
    for since, until in stretches:
        rows = RollUp.objects.filter(
            width_s=width, start_s__gte=since, start_s__lt=until, labels_id__in=label_ids
        )
        found += rows.values_list(*ROLL_UP_COLUMNS).iterator(CHUNK)
    return found


def rolled() -> Rolled:
    """Which roll-ups are up to date at this moment."""
    progress = RollUpProgress.objects.first()
    if progress is None:
        return Rolled()
    stale = stale_minutes(progress.changed_until)
    return Rolled(progress.until_s, progress.minutes_from_s, stale, progress.written)


def stale_minutes(changed_from: dt.datetime) -> list[int]:
    """Ascending starts of the minutes with a request that has changed since then."""
    changed = Generation.objects.filter(changed_at__gte=changed_from).order_by()
    slots = changed.values_list(TimeSlot("received_at", width_s=MINUTE), flat=True).distinct()
    return sorted(slot * MINUTE for slot in slots)


def first_received() -> dt.datetime | None:
    """When the site's first request was received; None before there is one."""
    first: dt.datetime | None = Generation.objects.aggregate(first=Min("received_at"))["first"]
    return first


def label_sets(*, is_brief: bool, **wanted: str) -> dict[int, Labels]:
    """The labels of roll-ups by the id of their row: of the brief ones, or of the others."""
    rows = LabelSet.objects.filter(**wanted)
    rows = rows.filter(worker=ANY) if is_brief else rows.exclude(worker=ANY)
    found = rows.values_list("id", *LabelSet.NAMES)
    return {label_id: Labels(*texts) for label_id, *texts in found}
