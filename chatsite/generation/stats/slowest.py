"""The slowest requests of a selection, found without looking at every one."""

from __future__ import annotations

import heapq
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import QuerySet

from chatsite.generation.models import Generation
from chatsite.generation.stats import plan
from chatsite.generation.stats.frame import Frame
from chatsite.generation.stats.selection import Selection


def slowest(selection: Selection, entries: Frame, *, count: int) -> list[UUID]:
    """Ids of the `count` requests with the greatest latency, the slowest first.

    Each entry holds a request as slow as its largest latency. So no request faster than the
    `count`-th largest of these is among the slowest, and an entry without such a one needn't be
    opened: that leaves `count` stretches of time to look into, or more where latencies are equal.
    """
    if entries.is_exact:  # few: one look at all
        return list(_slowest_of(selection, 0).values_list("request_id", flat=True)[:count])
    latencies = entries.largest["latency"]
    latencies = np.sort(latencies[latencies > 0])[::-1]
    if not len(latencies):
        return []
    enough = latencies[count - 1] if len(latencies) >= count else 1.0
    opened = np.flatnonzero(entries.largest["latency"] >= enough)
    stretches = zip(entries.start_s[opened].tolist(), entries.width_s[opened].tolist(), strict=True)
    found: set[tuple[Any, UUID]] = set()
    for start, width in sorted(set(stretches)):
        since = max(selection.since, plan.moment(start))
        until = min(selection.until, plan.moment(start + width))
        slow = _slowest_of(selection.between(since, until), int(enough))
        found.update(slow.values_list("latency_us", "request_id")[:count])
    ordered = heapq.nsmallest(count, ((-latency, request_id) for latency, request_id in found))
    return [request_id for _latency, request_id in ordered]


def _slowest_of(selection: Selection, at_least_us: int) -> QuerySet[Generation]:
    rows = selection.rows().filter(latency_us__gte=at_least_us)
    return rows.order_by("-latency_us", "request_id")
