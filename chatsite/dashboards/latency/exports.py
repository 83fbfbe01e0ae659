"""The latency board as JSON and CSV: times in ms under docs/measures.md's names."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Literal, TypedDict
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from chatsite.dashboards.latency.board import ListedRow, Shown
from chatsite.dashboards.latency.filters import LABELS
from chatsite.generation import stats
from chatsite.threads import in_thread

EXPORT_COLUMNS = (
    "request_id", "received_at", "source", "state", "error_code", "model_slug", "model_version",
    "model_revision", "dtype", "preset_slug", "preset_version", "queue_us", "prefill_us", "ttft_us",
    "decode_us", "recovery_us", "latency_us", "tpot_us", "itl_p50_us", "itl_p95_us", "itl_max_us",
    "user_ttft_us", "user_latency_us", "prompt_tokens", "cached_tokens", "completion_tokens",
    "batch_mean", "attempts_used", "worker", "device", "is_exact",
)  # fmt: skip
ROWS_AT_ONCE = 1_000


class SummaryJson(TypedDict):
    """A figure over many requests, in ms."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None
    p99_is_rough: bool


class TotalsJson(TypedDict):
    """All requests of the selection. `mean_ms` is by phase."""

    requests: int
    unfinished: int
    errors: int
    error_share: float | None
    tokens: int
    throughput_tokens_per_s: float | None
    requests_per_s: float | None
    refused_paints: int
    ttft_ms: SummaryJson
    tpot_ms: SummaryJson
    mean_ms: dict[str, float | None]


class GroupJson(TypedDict):
    """The requests of one model and preset."""

    model: str
    preset: str
    requests: int
    errors: int
    error_share: float | None
    tokens: int
    ttft_ms: SummaryJson
    tpot_ms: SummaryJson


class ErrorsJson(TypedDict):
    code: str
    count: int


class RowJson(TypedDict):
    """A request in one of the two lists."""

    request_id: UUID
    received_at: dt.datetime
    state: str
    error_code: str
    model_slug: str
    preset_slug: str
    source: str
    ttft_ms: float | None
    tpot_ms: float | None
    latency_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None


class BoardJson(TypedDict):
    """The whole board. `series` are columns over time; times of day are ISO 8601."""

    at: str
    since: str | None
    until: str
    timezone: str
    bucket_s: int
    unfinished_s: list[int]
    percentiles: Literal["exact", "within 1 %"]
    filters: dict[str, str]
    now: dict[str, int]
    totals: TotalsJson
    series: dict[str, list[float | None]]
    models: list[GroupJson]
    errors: list[ErrorsJson]
    newest: list[RowJson]
    slowest: list[RowJson]


def as_json(shown: Shown) -> BoardJson:
    """The board; moments in Unix seconds, None for no data."""
    board = shown.board
    return {
        "at": shown.at.isoformat(),
        "since": shown.since.isoformat() if shown.since else None,
        "until": shown.until.isoformat(),
        "timezone": timezone.get_current_timezone_name(),
        "bucket_s": shown.bucket_s,
        "unfinished_s": shown.unfinished_slices(),
        "percentiles": "exact" if board.is_exact else "within 1 %",
        "filters": {
            name: value for name in ("range", *LABELS) if (value := getattr(shown.filters, name))
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
            "refused_paints": shown.refused_paints,
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
    by_start = {b.start_s: b for b in shown.board.buckets}
    starts = shown.slices()
    buckets = [by_start.get(start) for start in starts]
    columns: dict[str, list[float | None]] = {"start_s": [*starts]}
    for name, read in SERIES.items():
        columns[name] = [None if b is None else read(b) for b in buckets]
    columns["requests"] = [b.requests if b else 0 for b in buckets]
    return columns


def _ms(us: float | None) -> float | None:
    return None if us is None else round(us / 1000, 3)


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


def _summary(summary: stats.Summary) -> SummaryJson:
    return {
        "count": summary.count,
        "mean": _ms(summary.mean),
        "p50": _ms(summary.p50),
        "p90": _ms(summary.p90),
        "p95": _ms(summary.p95),
        "p99": _ms(summary.p99),
        "max": _ms(summary.max),
        "p99_is_rough": summary.has_rough_p99,
    }


def _row(row: ListedRow) -> RowJson:
    return {
        "request_id": row["request_id"],
        "received_at": row["received_at"],
        "state": row["state"],
        "error_code": row["error_code"],
        "model_slug": row["model_slug"],
        "preset_slug": row["preset_slug"],
        "source": row["source"],
        "ttft_ms": _ms(row["ttft_us"]),
        "tpot_ms": _ms(row["tpot_us"]),
        "latency_ms": _ms(row["latency_us"]),
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
    }


# --- CSV ------------------------------------------------------------------------------------------


def time_csv(shown: Shown) -> str:
    """One line for each slice of time."""
    columns = series(shown)
    return _lines([list(columns), *zip(*columns.values(), strict=True)])


def models_csv(shown: Shown) -> str:
    """One line for each model and preset."""
    names = [f"{f}_{p}_ms" for f in ("ttft", "tpot") for p in ("p50", "p95", "p99")]
    lines: list[Iterable[Any]] = [["model", "preset", "requests", "errors", "tokens", *names]]
    for g in shown.board.groups:
        both = (g.ttft_us, g.tpot_us)
        figures = [_ms(value) for s in both for value in (s.p50, s.p95, s.p99)]
        lines.append([g.model, g.preset, g.requests, g.errors, g.tokens, *figures])
    return _lines(lines)


async def requests_csv(selection: stats.Selection | None) -> AsyncIterator[str]:
    """One line for each request, the newest first; read piece by piece, each in a thread."""
    yield _lines([[name.replace("_us", "_ms") for name in EXPORT_COLUMNS]])
    last: tuple[dt.datetime, UUID] | None = None
    while selection is not None:
        lines, last = await in_thread(_piece, selection, last)
        yield lines
        if last is None:
            return


def _piece(
    selection: stats.Selection, last: tuple[dt.datetime, UUID] | None
) -> tuple[str, tuple[dt.datetime, UUID] | None]:
    """The next lines after `last`, and where they end; None when these were all.

    Found by where the ones before ended, not by counting them: each piece costs the same.
    """
    rows = selection.rows()
    if last is not None:
        at, request_id = last
        rows = rows.filter(
            Q(received_at=at, request_id__lt=request_id) | Q(received_at__lt=at),
            received_at__lte=at,  # so that the index is entered there
        )
    ordered = rows.order_by("-received_at", "-request_id").values_list(*EXPORT_COLUMNS)
    found = list(ordered[:ROWS_AT_ONCE])
    lines = _lines([_ms(v) if us else v for v, us in zip(row, IN_US, strict=True)] for row in found)
    is_more = len(found) == ROWS_AT_ONCE
    return lines, (found[-1][1], found[-1][0]) if is_more else None


IN_US = [name.endswith("_us") for name in EXPORT_COLUMNS]


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
