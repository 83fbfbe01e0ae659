"""What the site's database says of requests that a client timed too, read beside the site."""

from __future__ import annotations

import itertools
import json
import sqlite3
import statistics
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.api_client import Answer

LEGS = ("to the site", "checked, stored", "to the worker", "into a step", "first token", "back")
COLUMNS = (
    "g.request_id, g.received_stamp, g.submitted_us, g.started_us, g.queue_us, g.ttft_us, "
    "g.tpot_us, g.completion_tokens, json_array_length(g.token_offsets_us)"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One stored request; µs since `received_s`, which is of the machine's monotonic clock."""

    request_id: str
    received_s: float
    submitted_us: int
    started_us: int
    admitted_us: int
    ttft_us: int
    tpot_us: float
    tokens: int
    timed_tokens: int

    @property
    def ttft_ms(self) -> float:
        return self.ttft_us / 1000

    @property
    def tpot_ms(self) -> float:
        return self.tpot_us / 1000


def records_since(data: Path, *, since_s: float, number: int, wait_s: float = 15) -> list[Record]:
    """The last `number` finished requests received after that monotonic moment, oldest first.

    They are stored a moment after their client has them. Raises RuntimeError when some never are.
    """
    deadline = time.monotonic() + wait_s
    while True:
        found = [record for record in _finished(data) if record.received_s >= since_s]
        if len(found) >= number:
            return sorted(found, key=lambda record: record.received_s)[-number:]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(found)} of {number} requests are in the records")
        time.sleep(0.2)


def _finished(data: Path) -> list[Record]:
    with sqlite3.connect(f"file:{data / 'db.sqlite3'}?mode=ro", uri=True, timeout=20) as database:
        rows = database.execute(
            f"SELECT {COLUMNS} FROM metrics_generation g "
            "WHERE g.stored_at IS NOT NULL AND g.ttft_us IS NOT NULL"
        ).fetchall()
    return [
        Record(uuid.UUID(str(row[0])).hex, json.loads(row[1])["mono_ns"] / 1e9, row[2] or 0,
               row[3], row[4], row[5], row[6] or 0.0, row[7], row[8])
        for row in rows
    ]  # fmt: skip


def legs_ms(answers: Sequence[Answer], records: Sequence[Record]) -> dict[str, float]:
    """Where the time to the first token went, the client's ends included; medians in ms."""
    by_id = {record.request_id: record for record in records}
    parts: list[tuple[float, ...]] = []
    for answer in answers:
        record = by_id[answer.timings["request_id"]]
        moments = [
            answer.sent,
            record.received_s,
            record.received_s + record.submitted_us / 1e6,
            record.received_s + record.started_us / 1e6,
            record.received_s + record.admitted_us / 1e6,
            record.received_s + record.ttft_us / 1e6,
            answer.arrivals[0],
        ]
        parts.append(tuple((b - a) * 1000 for a, b in itertools.pairwise(moments)))
    return {
        name: statistics.median(column)
        for name, column in zip(LEGS, zip(*parts, strict=True), strict=True)
    }


def p50_p99(values: Sequence[float]) -> tuple[float, float]:
    """Both by linear interpolation, as numpy and the peers' clients have it."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    return at(0.5), at(0.99)
