"""The latency board as data: what the page, its charts and its exports all show."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, TypedDict
from uuid import UUID

from django.core.cache import cache
from django.db.models import Min, QuerySet
from django.utils import timezone

from chatsite.dashboards.latency.filters import Filters, bucket_s
from chatsite.generation import stats
from chatsite.generation.models import Generation

LISTED = 10
FRESH_S = 4
"""Seconds that a board is cached, so that the page and its charts show the same figures."""

EXPORT_COLUMNS = (
    "request_id", "received_at", "source", "state", "error_code", "model_slug", "model_version",
    "model_revision", "dtype", "preset_slug", "preset_version", "queue_us", "prefill_us", "ttft_us",
    "decode_us", "recovery_us", "latency_us", "tpot_us", "itl_p50_us", "itl_p95_us", "itl_max_us",
    "user_ttft_us", "user_latency_us", "prompt_tokens", "cached_tokens", "completion_tokens",
    "batch_mean", "attempts_used", "worker", "device", "is_exact",
)  # fmt: skip


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
    """Everything on the board, and the moment it was true."""

    filters: Filters
    at: dt.datetime
    since: dt.datetime | None
    until: dt.datetime
    bucket_s: int
    board: stats.Board
    now: dict[str, int]
    newest: list[ListedRow]
    slowest: list[ListedRow]


def show(filters: Filters) -> Shown:
    """The board for these filters, at most FRESH_S old. Six queries, five when nothing matches."""
    named = dataclasses.replace(filters, since=None) if filters.range != "custom" else filters
    key = f"latency-board:{hashlib.sha256(repr(named).encode()).hexdigest()}"
    shown: Shown | None = cache.get(key)
    if shown is None:
        shown = _show(filters)
        cache.set(key, shown, FRESH_S)
    return shown


def _show(filters: Filters) -> Shown:
    at = timezone.now()
    rows = filters.rows()
    since, until = filters.since, min(filters.until or at, at)
    if since is None:
        since = rows.aggregate(first=Min("received_at"))["first"]
    seconds = max(1.0, (until - since).total_seconds()) if since else 0.0
    width = bucket_s(seconds)
    return Shown(
        filters=filters,
        at=at,
        since=since,
        until=until,
        bucket_s=width,
        board=stats.board(rows, seconds=seconds, bucket_s=width),
        now=stats.now_in_states(),
        newest=_listed(rows.order_by("-received_at")),
        slowest=_listed(rows.filter(latency_us__isnull=False).order_by("-latency_us")),
    )


def _listed(ordered: QuerySet[Generation]) -> list[ListedRow]:
    """The first LISTED rows. Ids first, from the covering index; then only those rows are read."""
    ids = list(ordered.values_list("request_id", flat=True)[:LISTED])
    found = {
        row["request_id"]: row
        for row in Generation.objects.filter(request_id__in=ids).values(*LIST_COLUMNS)
    }
    return [found[i] for i in ids if i in found]


# --- the same as JSON and CSV ---------------------------------------------------------------------


def as_json(shown: Shown) -> dict[str, Any]:
    """Times in ms, unrounded, under docs/measures.md's names, moments in Unix seconds.

    None is "no data".
    """
    board = shown.board
    return {
        "at": shown.at.isoformat(),
        "since": shown.since.isoformat() if shown.since else None,
        "until": shown.until.isoformat(),
        "timezone": timezone.get_current_timezone_name(),
        "bucket_s": shown.bucket_s,
        "filters": {
            name: value
            for name in ("range", "model", "preset", "source", "state")
            if (value := getattr(shown.filters, name))
        },
        "now": shown.now,
        "totals": {
            "requests": board.requests,
            "unfinished": board.unfinished,
            "errors": board.error_count,
            "error_share": board.error_share,
            "tokens": board.tokens,
            "throughput_tokens_per_s": board.tokens_per_s,
            "requests_per_s": board.requests_per_s,
            "ttft_ms": _summary(board.ttft_us),
            "tpot_ms": _summary(board.tpot_us),
            "mean_ms": {
                name.removesuffix("_us"): _ms(value)
                for name, value in dataclasses.asdict(board.phases).items()
            },
        },
        "series": series(shown),
        "models": [
            {
                "model": g.model,
                "preset": g.preset,
                "requests": g.requests,
                "errors": g.errors,
                "error_share": g.error_share,
                "tokens": g.tokens,
                "ttft_ms": _summary(g.ttft_us),
                "tpot_ms": _summary(g.tpot_us),
            }
            for g in board.groups
        ],
        "errors": [{"code": code, "count": count} for code, count in board.errors],
        "newest": [_row(row) for row in shown.newest],
        "slowest": [_row(row) for row in shown.slowest],
    }


def series(shown: Shown) -> dict[str, list[float | None]]:
    """Columns over time. A slice without requests has None, so that charts show a gap."""
    if shown.since is None:
        return {name: [] for name in ("start_s", *SERIES)}
    width = shown.bucket_s
    by_start = {b.start_s: b for b in shown.board.buckets}
    first, last = (int(t.timestamp()) // width * width for t in (shown.since, shown.until))
    starts = list(range(first, last + 1, width))
    buckets = [by_start.get(start) for start in starts]
    columns: dict[str, list[float | None]] = {"start_s": [*starts]}
    for name, read in SERIES.items():
        columns[name] = [None if b is None else read(b) for b in buckets]
    columns["requests"] = [b.requests if b else 0 for b in buckets]
    return columns


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1000


SERIES: dict[str, Callable[[stats.Bucket], float | None]] = {
    "requests": lambda b: b.requests,
    "throughput_tokens": lambda b: b.tokens,
    "ttft_count": lambda b: b.ttft_us.count,
    "ttft_p50_ms": lambda b: _ms(b.ttft_us.p50),
    "ttft_p95_ms": lambda b: _ms(b.ttft_us.p95),
    "ttft_p99_ms": lambda b: _ms(b.ttft_us.p99),
    "tpot_count": lambda b: b.tpot_us.count,
    "tpot_p50_ms": lambda b: _ms(b.tpot_us.p50),
    "tpot_p95_ms": lambda b: _ms(b.tpot_us.p95),
    "tpot_p99_ms": lambda b: _ms(b.tpot_us.p99),
    "queue_mean_ms": lambda b: _ms(b.phases.queue_us),
    "prefill_mean_ms": lambda b: _ms(b.phases.prefill_us),
    "decode_mean_ms": lambda b: _ms(b.phases.decode_us),
    "recovery_mean_ms": lambda b: _ms(b.phases.recovery_us),
    "delivery_mean_ms": lambda b: _ms(b.phases.delivery_us),
}


def _summary(summary: stats.Summary) -> dict[str, Any]:
    values = dataclasses.asdict(summary)
    count = values.pop("count")
    figures = {name: _ms(value) for name, value in values.items()}
    return {"count": count, **figures, "p99_is_rough": summary.has_rough_p99}


def _row(row: ListedRow) -> dict[str, Any]:
    values: dict[str, Any] = {**row}
    return {
        name.replace("_us", "_ms"): _ms(value) if name.endswith("_us") else value
        for name, value in values.items()
    }


def csv_rows(shown: Shown, what: str) -> Iterator[list[Any]]:
    """Header and rows of one table: "time", "models" or "requests" (all that match)."""
    if what == "time":
        columns = series(shown)
        yield list(columns)
        yield from map(list, zip(*columns.values(), strict=True))
    elif what == "models":
        yield [
            "model", "preset", "requests", "errors", "tokens",
            *(f"{f}_{p}_ms" for f in ("ttft", "tpot") for p in ("p50", "p95", "p99")),
        ]  # fmt: skip
        for g in shown.board.groups:
            both = (g.ttft_us, g.tpot_us)
            figures = [_ms(value) for s in both for value in (s.p50, s.p95, s.p99)]
            yield [g.model, g.preset, g.requests, g.errors, g.tokens, *figures]
    else:
        yield [name.replace("_us", "_ms") for name in EXPORT_COLUMNS]
        rows = shown.filters.rows().order_by("-received_at").values_list(*EXPORT_COLUMNS)
        in_us = [name.endswith("_us") for name in EXPORT_COLUMNS]
        for row in rows.iterator():
            yield [_ms(v) if us else v for v, us in zip(row, in_us, strict=True)]
