"""Measures an engine by closed-loop load: a batch of prompts at once, the next when all have ended.

Every engine of bench/engine.py is measured this way, ours by `python -m inference bench` too. The
figures are those of docs/measures.md; TTFT counts from the moment the batch was submitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StreamResult:
    """One stream of a batch; times in seconds since the batch was submitted."""

    prompt_tokens: int
    completion_tokens: int
    first_token_s: float
    last_token_s: float


Batch = Sequence[StreamResult]


def batches_of(prompts: Sequence[T], streams: int) -> list[list[T]]:
    """Every prompt at least once, `streams` at a time; the last batch is filled up."""
    count = math.ceil(len(prompts) / streams)
    turning = cycle(prompts)
    return [list(islice(turning, streams)) for _ in range(count)]


def figures(batches: Iterable[Batch]) -> dict[str, Any]:
    """The figures of batches of one width.

    `tokens_per_s` is completion tokens over wall time, prefill included. `decode_tokens_per_s`
    counts, in each batch, the tokens between the moment when every stream has its first and the
    moment when the first stream has its last; None when a prefill outlasts another's whole answer.
    """
    batches = list(batches)
    answers = [answer for batch in batches for answer in batch]
    ttft = [answer.first_token_s * 1000 for answer in answers]
    tpot = [
        (answer.last_token_s - answer.first_token_s) * 1000 / (answer.completion_tokens - 1)
        for answer in answers
        if answer.completion_tokens > 1
    ]
    completion = sum(answer.completion_tokens for answer in answers)
    wall_s = sum(max(answer.last_token_s for answer in batch) for batch in batches)
    return {
        "requests": len(answers),
        "ttft_ms": spread(ttft),
        "tpot_ms": spread(tpot),
        "tokens_per_s": round(completion / wall_s, 2) if wall_s else None,
        "decode_tokens_per_s": _decode_rate(batches),
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
        "completion_tokens": completion,
        "wall_s": round(wall_s, 4),
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Median and 99th percentile by nearest rank; null over nothing."""
    ordered = sorted(values)

    def rank(share: float) -> float | None:
        if not ordered:
            return None
        return round(ordered[math.ceil(share * len(ordered)) - 1], 3)

    return {"p50": rank(0.5), "p99": rank(0.99)}


def _decode_rate(batches: Iterable[Batch]) -> float | None:
    """Tokens per second while all streams of a batch decode, each at its own mean pace."""
    tokens, seconds = 0.0, 0.0
    for batch in batches:
        begin = max(answer.first_token_s for answer in batch)
        end = min(answer.last_token_s for answer in batch)
        if end <= begin:
            return None
        for answer in batch:
            span = answer.last_token_s - answer.first_token_s
            tokens += (answer.completion_tokens - 1) * (end - begin) / span
        seconds += end - begin
    return round(tokens / seconds, 2) if seconds else None
