"""The workers' latest snapshots, ready to be shown."""

from __future__ import annotations

import dataclasses
import datetime as dt

from django.utils import timezone
from django.utils.translation import gettext as _

from inference import client
from inference.contract import WorkerSnapshot

STALE_AFTER_S = 5.0
"""A worker reports once a second; one that has not for this long is marked."""


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker's latest snapshot; `is_stale` when it has not reported for STALE_AFTER_S."""

    snapshot: WorkerSnapshot
    seen_at: dt.datetime
    started_at: dt.datetime
    is_stale: bool

    @property
    def blocks_share(self) -> float | None:
        """Used share of its KV cache; None while it has none."""
        total = self.snapshot.engine.kv_blocks_total
        return self.snapshot.engine.kv_blocks_used / total if total else None

    @property
    def speed_seen_at(self) -> dt.datetime | None:
        """When its machine's best speed was measured; None while it isn't known."""
        seen_us = self.snapshot.engine.speed_seen_us
        return _moment(seen_us) if seen_us else None

    @property
    def state_label(self) -> str:
        """Its state in the page's language."""
        return _(self.snapshot.engine.state.label)


@dataclasses.dataclass(frozen=True, slots=True)
class Workers:
    """`problem` is a sentence when they could not be asked; then there are no rows."""

    at: dt.datetime
    rows: list[WorkerRow]
    problem: str = ""

    @property
    def running(self) -> int:
        """Requests that run on workers that report."""
        return sum(row.snapshot.engine.running for row in self.rows if not row.is_stale)

    def of_model(self, slug: str) -> Workers:
        """The same for the workers of one model."""
        rows = [row for row in self.rows if row.snapshot.model == slug]
        return dataclasses.replace(self, rows=rows)


def workers() -> Workers:
    """All workers by host and name. Never raises because Redis is away."""
    at = timezone.now()
    try:
        snapshots = client.workers()
    except (client.RedisUnavailable, OSError):
        problem = _(
            "Redis doesn't answer, so nothing is known about the workers at this moment. "
            "Answers that wait are kept and go on when it is back."
        )
        return Workers(at, [], problem)
    rows = [_row(snapshot, at) for snapshot in snapshots]
    return Workers(at, sorted(rows, key=lambda row: (row.snapshot.host, row.snapshot.worker)))


def _row(snapshot: WorkerSnapshot, at: dt.datetime) -> WorkerRow:
    seen = _moment(snapshot.seen_us)
    is_stale = (at - seen).total_seconds() > STALE_AFTER_S
    return WorkerRow(snapshot, seen, _moment(snapshot.started_us), is_stale)


def _moment(wall_us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(wall_us / 1e6, tz=dt.UTC)
