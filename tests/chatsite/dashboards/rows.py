"""Generated requests, conversations and people for tests, screenshots and timings.

Figures are drawn from distributions like those of a small model on a CPU and obey the identities of
docs/measures.md (One request); nothing here is a measurement.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from typing import Any

from django.utils import timezone

from chatsite.generation.models import Attempt, Generation

State = Generation.State


def figures(rng: random.Random, *, tokens: int, crowd: float = 1.0) -> dict[str, Any]:
    """Stamps of one finished request in µs: identities exact, browser a little later."""
    submitted = rng.randint(1_500, 6_000)
    started = submitted + rng.randint(2_000, 9_000)
    queue = started + int(rng.lognormvariate(9.2, 1.1) * crowd)
    prefill = int(rng.lognormvariate(11.3, 0.5))
    gaps = [int(rng.lognormvariate(9.9, 0.18) * (0.8 + crowd / 5)) for _ in range(tokens - 1)]
    offsets = [queue + prefill]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    ordered = sorted(gaps)
    decode, ttft = sum(gaps), queue + prefill
    return {
        "submitted_us": submitted,
        "started_us": started,
        "queue_us": queue,
        "prefill_us": prefill,
        "ttft_us": ttft,
        "decode_us": decode,
        "recovery_us": 0,
        "latency_us": ttft + decode,
        "tpot_us": decode / len(gaps) if gaps else None,
        "itl_p50_us": ordered[len(gaps) // 2] if gaps else None,
        "itl_p95_us": ordered[-(len(gaps) // 20) - 1] if gaps else None,
        "itl_max_us": ordered[-1] if gaps else None,
        "user_ttft_us": ttft + rng.randint(9_000, 40_000),
        "user_latency_us": ttft + decode + rng.randint(15_000, 70_000),
        "completion_tokens": tokens,
        "token_offsets_us": offsets,
    }


def generation(rng: random.Random | None = None, **given: Any) -> Generation:
    """One finished request, not saved. Anything may be given."""
    rng = rng or random.Random(1)
    tokens = given.pop("tokens", None) or min(400, max(2, int(rng.lognormvariate(4.4, 0.8))))
    received = given.pop("received_at", None) or timezone.now() - dt.timedelta(minutes=5)
    row: dict[str, Any] = {
        "request_id": uuid.UUID(int=rng.getrandbits(128), version=4),
        "received_at": received,
        "state": State.STOP,
        "model_slug": "smollm2-135m-instruct",
        "model_revision": "3f1c0a9d",
        "dtype": "bfloat16",
        "preset_slug": "balanced",
        "preset_version": 1,
        "sampling": {"temperature": 0.6, "top_p": 0.92, "seed": 4711, "max_tokens": 1024},
        "prompt_tokens": rng.randint(30, 600),
        "cached_tokens": rng.choice([0, 0, 16, 16, 28]),
        "batch_mean": round(1 + rng.random() * 3, 2),
        "tpot_floor_us": 6_100.0,
        "prefill_floor_us": 31_000.0,
        "worker": "slot-1",
        "device": "CPU, 2 threads",
    } | figures(rng, tokens=tokens, crowd=given.pop("crowd", 1.0))
    row["stored_at"] = received + dt.timedelta(microseconds=row["latency_us"] + 12_000)
    return Generation(**(row | given))


def failed(rng: random.Random | None = None, **given: Any) -> Generation:
    """A request that never got a token."""
    never = dict.fromkeys(
        ("queue_us", "prefill_us", "ttft_us", "decode_us", "recovery_us", "latency_us", "tpot_us",
         "itl_p50_us", "itl_p95_us", "itl_max_us", "user_ttft_us", "user_latency_us",
         "completion_tokens", "batch_mean")
    )  # fmt: skip
    defaults = {"state": State.FAILED, "error_code": "expired", "token_offsets_us": []}
    return generation(rng, **(never | defaults | given))


def recovered(rng: random.Random | None = None, **given: Any) -> Generation:
    """A request whose first worker died after half of its tokens. Saved, with its attempts."""
    row = generation(rng, tokens=120, **given)
    gap, half = 3_400_000, 60
    row.token_offsets_us = row.token_offsets_us[:half] + [
        t + gap for t in row.token_offsets_us[half:]
    ]
    lost = row.token_offsets_us[half] - row.token_offsets_us[half - 1]
    row.recovery_us, row.latency_us = lost, row.token_offsets_us[-1]
    row.decode_us = row.latency_us - row.ttft_us - lost
    row.tpot_us = row.decode_us / 118
    row.user_latency_us = row.latency_us + 30_000
    row.attempts_used = 2
    row.stored_at = row.received_at + dt.timedelta(microseconds=row.latency_us + 12_000)
    row.save(force_insert=True)
    Attempt.objects.create(
        generation=row, number=1, worker="slot-1", state=State.INTERRUPTED,
        error_code="worker_lost",
        started_us=row.started_us, admitted_us=row.queue_us, first_token_us=row.ttft_us,
        last_token_us=row.token_offsets_us[half - 1], tokens=half,
    )  # fmt: skip
    Attempt.objects.create(
        generation=row, number=2, worker="slot-2", device="CPU, 2 threads", state=State.STOP,
        started_us=row.token_offsets_us[half] - 90_000,
        admitted_us=row.token_offsets_us[half] - 70_000,
        first_token_us=row.token_offsets_us[half], last_token_us=row.latency_us, tokens=60,
    )  # fmt: skip
    return row


def many(count: int, *, days: float, seed: int = 7, users: list[Any] | None = None) -> None:
    """Store `count` requests spread over the last `days`, busier by day, some of them failing."""
    rng = random.Random(seed)
    now = timezone.now()
    batch: list[Generation] = []
    while count:
        ago = dt.timedelta(days=rng.random() * days)
        hour = (now - ago).hour
        if rng.random() > (0.25 if hour < 7 else 1.0):
            continue
        count -= 1
        common = {
            "received_at": now - ago,
            "model_slug": rng.choices(["smollm2-135m-instruct", "qwen3-0.6b"], [4, 1])[0],
            "preset_slug": rng.choices(["balanced", "precise", "creative", "greedy"], [6, 2, 2, 1])[
                0
            ],
            "source": rng.choices(["chat", "api"], [5, 1])[0],
            "user": rng.choice(users) if users else None,
        }
        fate = rng.random()
        if fate < 0.012:
            code = rng.choice(["worker_lost", "expired", "expired", "out_of_memory", "bad_logits"])
            state = State.INTERRUPTED if code == "worker_lost" else State.FAILED
            batch.append(failed(rng, state=state, error_code=code, **common))
        else:
            state = rng.choices([State.STOP, State.LENGTH, State.CANCELLED], [90, 6, 4])[0]
            crowd = rng.uniform(0.5, 2.5) * (2 if 9 <= hour <= 18 else 1)
            batch.append(generation(rng, state=state, crowd=crowd, **common))
        if len(batch) >= 500 or not count:
            Generation.objects.bulk_create(batch)
            batch.clear()
