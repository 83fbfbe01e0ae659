"""The latency board as data: what the page, its charts and its exports all show."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable
from typing import TypedDict
from uuid import UUID

from django.utils import timezone

from chatsite.dashboards.latency.filters import Filters, bucket_s
from chatsite.dashboards.latency.single_flight import SingleFlight
from chatsite.generation import stats
from chatsite.generation.models import Generation

FRESH_S = 10
"""Seconds that a board is kept: shorter than the page's refresh, longer than between a page and its
charts, which so show the same figures.
"""


class ListedRow(TypedDict):
    """A request in one of the two lists: LIST_COLUMNS of its row."""

    request_id: UUID
    received_at: dt.datetime
    state: str
    error_code: str
    model_slug: str
    preset_slug: str
    source: str
    ttft_us: int | None
    tpot_us: float | None
    latency_us: int | None
    prompt_tokens: int | None
    completion_tokens: int | None


LIST_COLUMNS = tuple(ListedRow.__annotations__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Everything on the board, and the moment it was true. `since` is None before any request.

    `refused_paints` counts requests whose browser reported stamps that can't be.
    """

    filters: Filters
    at: dt.datetime
    since: dt.datetime | None
    until: dt.datetime
    bucket_s: int
    board: stats.Board
    now: dict[str, int]
    newest: list[ListedRow]
    slowest: list[ListedRow]
    refused_paints: int

    def slices(self) -> list[int]:
        """Starts of all slices of time, in Unix seconds."""
        if self.since is None:
            return []
        width = self.bucket_s
        first, last = (int(at.timestamp()) // width * width for at in (self.since, self.until))
        return list(range(first, last + 1, width))

    def unfinished_slices(self) -> list[int]:
        """Slices that lie only partly in the window, or only partly in the past."""
        since, until = self.since.timestamp() if self.since else 0, self.until.timestamp()
        return [s for s in self.slices() if s < since or s + self.bucket_s > until]


_boards: SingleFlight[Shown] = SingleFlight(fresh_s=FRESH_S)


def show(filters: Filters) -> Shown:
    """The board for these filters, at most FRESH_S old; computed once for all who ask for it."""
    named = dataclasses.replace(filters, since=None) if filters.range != "custom" else filters
    key = f"latency-board:{hashlib.sha256(repr(named).encode()).hexdigest()}"
    return _boards.get(key, lambda: _show(filters))


def _show(filters: Filters) -> Shown:
    at = timezone.now()
    chosen = filters.selection(first=stats.first_received(), now=at)
    selection = chosen or stats.Selection(since=at, until=at)
    seconds = max(1.0, (selection.until - selection.since).total_seconds())
    width = bucket_s(seconds)
    board = stats.board(selection, slice_s=width)
    rows = selection.rows()
    newest = rows.order_by("-received_at").values_list("request_id", flat=True)[: stats.LISTED]
    return Shown(
        filters=filters,
        at=at,
        since=chosen.since if chosen else None,
        until=selection.until,
        bucket_s=width,
        board=board,
        now=stats.now_in_states(),
        newest=_listed(newest),
        slowest=_listed(board.slowest),
        refused_paints=rows.filter(is_paint_refused=True).order_by().count(),
    )


def _listed(request_ids: Iterable[UUID]) -> list[ListedRow]:
    """These rows in this order. Ids come from a covering index, so only these rows are read."""
    ids = list(request_ids)
    found = {
        row["request_id"]: row
        for row in Generation.objects.filter(request_id__in=ids).values(*LIST_COLUMNS)
    }
    return [found[i] for i in ids if i in found]
