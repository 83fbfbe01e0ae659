"""Many made-up requests at once, written to the database without the ORM.

Figures are drawn from distributions like those of small models on a CPU: busier by day and on
weekdays, lognormal waits, some requests failing, a few recovered. They obey docs/measures.md's
identities. Offsets of single tokens are left out: they would be most of the bytes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection, transaction

from chatsite.generation.models import Generation

BATCH = 20_000
TABLE = Generation._meta.db_table
State = Generation.State

WORKERS = ("slot1@quartz", "slot2@quartz", "slot1@basalt")
KEYS = ("sk-Demo1aBcDeF", "sk-Demo2gHiJkL", "sk-Demo3mNoPqR", "sk-Demo4sTuVwX")
CODES = ("expired", "out_of_memory", "bad_logits")

Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who and what the requests name."""

    models: list[str]
    presets: list[str]
    user_ids: list[int]


def write_requests(count: int, *, days: int, until: dt.datetime, cast: Cast, seed: int) -> None:
    """Insert `count` requests received in the `days` before `until`, oldest first."""
    rng = np.random.default_rng(seed)
    received = _moments(rng, count, days, until)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "PRAGMA cache_size = -262144"
            )  # ids are random: keep their index at hand
    for start in range(0, count, BATCH):
        _insert(_columns(rng, received[start : start + BATCH], cast))


def _moments(rng: np.random.Generator, count: int, days: int, until: dt.datetime) -> Any:
    """Ascending µs of Unix time, more of them by day and on weekdays."""
    end_us = int(until.timestamp() * 1e6)
    hours = np.arange(days * 24)
    at = (end_us // 3_600_000_000 - hours) % 24
    day = (end_us // 3_600_000_000 - hours) // 24 % 7  # 1970-01-01 was a Thursday
    weight = (0.25 + np.exp(-((at - 14) ** 2) / 24)) * np.where((day == 2) | (day == 3), 0.55, 1)
    drawn = rng.choice(hours, count, p=weight / weight.sum())
    ago_us = drawn * 3_600_000_000 + rng.integers(0, 3_600_000_000, count)
    return np.sort(np.maximum(end_us - ago_us, end_us - days * 86_400_000_000))


def _columns(rng: np.random.Generator, received: Any, cast: Cast) -> Columns:
    n = len(received)
    model = rng.choice(len(cast.models), n, p=_falling(len(cast.models)))
    preset = rng.choice(len(cast.presets), n, p=_falling(len(cast.presets)))
    is_api = rng.random(n) < 0.2
    fate = rng.random(n)
    state = np.select(
        [fate < 0.011, fate < 0.014, fate < 0.05, fate < 0.11],
        [State.FAILED.value, State.INTERRUPTED.value, State.CANCELLED.value, State.LENGTH.value],
        State.STOP.value,
    )
    is_bad = fate < 0.014
    hour = received // 3_600_000_000 % 24
    crowd = rng.uniform(0.5, 2.5, n) * np.where((hour >= 9) & (hour <= 18), 2.0, 1.0)
    slow = 1 + model * 1.7
    submitted = rng.integers(1_500, 6_000, n)
    started = submitted + rng.integers(2_000, 9_000, n)
    queue = started + (rng.lognormal(9.2, 1.1, n) * crowd).astype(np.int64)
    prefill = (rng.lognormal(11.3, 0.5, n) * slow).astype(np.int64)
    tokens = np.clip(rng.lognormal(4.4, 0.8, n).astype(np.int64), 2, 1024)
    tpot_aim = rng.lognormal(9.9, 0.18, n) * (0.8 + crowd / 5) * slow
    decode = (tpot_aim * (tokens - 1)).astype(np.int64)
    is_recovered = rng.random(n) < 0.003
    recovery = np.where(is_recovered, rng.lognormal(15, 0.4, n).astype(np.int64), 0)
    ttft, steps = queue + prefill, tokens - 1 - is_recovered
    tpot = np.where(steps > 0, decode / np.maximum(steps, 1), np.nan)
    latency = ttft + decode + recovery
    has_paint = ~is_api & (rng.random(n) < 0.9)
    gap = tpot_aim * rng.lognormal(0, 0.02, n)

    def known(values: Any, where: Any = None) -> list[Any]:
        """None where the request failed, or `where` says so; elsewhere the value."""
        there = ~is_bad if where is None else ~is_bad & where
        return [v if t else None for v, t in zip(values.tolist(), there.tolist(), strict=True)]

    ids = rng.bytes(16 * n).hex()
    code = np.where(
        state == State.INTERRUPTED.value, "worker_lost",
        np.where(is_bad, rng.choice(CODES, n, p=[0.6, 0.25, 0.15]), ""),
    )  # fmt: skip
    owner = rng.choice(cast.user_ids, n)
    stored = received + np.where(is_bad, 30_000_000, latency + 12_000)
    sampling = [
        json.dumps({"temperature": 0.3 + 0.2 * p, "top_p": 0.92, "max_tokens": 1024, "seed": 4711})
        for p in range(len(cast.presets))
    ]
    return {
        "request_id": [ids[i : i + 32] for i in range(0, 32 * n, 32)],
        "user_id": owner.tolist(),
        "source": np.where(is_api, "api", "chat").tolist(),
        "api_key": np.where(is_api, rng.choice(KEYS, n, p=[0.5, 0.3, 0.15, 0.05]), "").tolist(),
        "state": state.tolist(),
        "error_code": code.tolist(),
        "error_text": [""] * n,
        "model_slug": np.array(cast.models)[model].tolist(),
        "model_version": [1] * n,
        "model_revision": ["3f1c0a9d"] * n,
        "dtype": ["bfloat16"] * n,
        "preset_slug": np.array(cast.presets)[preset].tolist(),
        "preset_version": [1] * n,
        "sampling": [sampling[p] for p in preset.tolist()],
        "accepted_request": [""] * n,
        "received_at": _written(received),
        "received_stamp": ["{}"] * n,
        "submitted_us": submitted.tolist(),
        "started_us": started.tolist(),
        "stored_at": _written(stored),
        "changed_at": _written(stored),
        "is_exact": [True] * n,
        "is_paint_refused": [False] * n,
        "queue_us": known(queue),
        "prefill_us": known(prefill),
        "ttft_us": known(ttft),
        "decode_us": known(decode),
        "recovery_us": known(recovery),
        "latency_us": known(latency),
        "tpot_us": known(tpot, steps > 0),
        "itl_p50_us": known(gap.astype(np.int64)),
        "itl_p95_us": known((gap * 1.4).astype(np.int64)),
        "itl_max_us": known((gap * 3).astype(np.int64) + recovery),
        "user_ttft_us": known(ttft + rng.integers(9_000, 40_000, n), has_paint),
        "user_latency_us": known(latency + rng.integers(40_000, 90_000, n), has_paint),
        "prompt_tokens": rng.integers(30, 600, n).tolist(),
        "cached_tokens": rng.choice([0, 0, 16, 28], n).tolist(),
        "completion_tokens": known(tokens),
        "continued_tokens": [0] * n,
        "batch_mean": known(np.round(1 + crowd * 0.8, 2)),
        "tpot_floor_us": known(6_100.0 * slow),
        "prefill_floor_us": known(31_000.0 * slow),
        "attempts_used": (1 + is_recovered).tolist(),
        "worker": np.array(WORKERS)[(model + (rng.random(n) < 0.3)) % len(WORKERS)].tolist(),
        "device": ["CPU, 2 threads"] * n,
        "token_offsets_us": ["[]"] * n,
    }


def _falling(count: int) -> Any:
    weights = 1 / np.arange(1, count + 1) ** 1.3
    return weights / weights.sum()


def _written(unix_us: Any) -> list[str]:
    """As SQLite holds a moment, and as PostgreSQL reads one when its time zone is UTC."""
    return [
        text.replace("T", " ")
        for text in np.datetime_as_string(unix_us.astype("datetime64[us]"), unit="us").tolist()
    ]


def _insert(columns: Columns) -> None:
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    rows: Iterator[tuple[Any, ...]] = zip(*columns.values(), strict=True)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {TABLE} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {TABLE} ({names}) VALUES ({marks})", list(rows))
