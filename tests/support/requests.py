"""Requests and events for tests of ledger, streams and worker."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable
from typing import Any

from inference.contract import Delta, GenerationRequest, Result, SamplingParams, Stamp
from inference.queue import keys, ledger
from inference.queue import stream_writer as writing
from inference.queue.connection import connect

MODEL = "m"


def new_request(**changes: Any) -> GenerationRequest:
    made = GenerationRequest(
        request_id=uuid.uuid4().hex,
        model=MODEL,
        prompt_token_ids=(1, 2, 3),
        sampling=SamplingParams(seed=1),
        received=Stamp.now(),
    )
    return dataclasses.replace(made, **changes)


def delta(asked: GenerationRequest, position: int, *, attempt: int = 1) -> Delta:
    """One token, whose text is its position."""
    return Delta(
        request_id=asked.request_id,
        attempt=attempt,
        position=position,
        token_ids=(position,),
        text=str(position),
        text_offset=position,
        mono_ns=position,
    )


def ending(asked: GenerationRequest, *, attempt: int = 1, **changes: Any) -> Result:
    made = Result(request_id=asked.request_id, attempt=attempt, finish_reason="stop")
    return dataclasses.replace(made, **changes)


def claim_next(worker: str = "w1", *, model: str = MODEL) -> GenerationRequest | None:
    return ledger.claim_next(model, worker=worker).request


def is_claimed(asked: GenerationRequest, worker: str = "w1") -> bool:
    """Take the best waiting request, and whether it is this one, at this attempt."""
    taken = claim_next(worker, model=asked.model)
    return taken is not None and (taken.request_id, taken.attempt) == (
        asked.request_id,
        asked.attempt,
    )


def running(asked: GenerationRequest) -> GenerationRequest:
    """Submitted and taken by worker w1. No other may wait."""
    assert ledger.submit(asked) == "ok"
    assert is_claimed(asked)
    return asked


def write(*events: Any) -> list[writing.Outcome]:
    return writing.append(events, models={event.request_id: MODEL for event in events})


BROKEN_ENTRIES: tuple[dict[str, str | bytes], ...] = (
    {"broken": "entry"},
    {"k": "mood", "d": "{}"},
    {"k": "delta"},
    {"k": "delta", "d": "{"},
    {"k": b"\xff", "d": b"\xff"},
)
"""Entries of a stream that no version can read."""


def break_stream(asked: GenerationRequest) -> None:
    """Put every kind of entry that can't be read at the end of the request's stream."""
    for fields in BROKEN_ENTRIES:
        connect().xadd(keys.stream(asked.request_id), dict(fields))


def lose_worker(asked: GenerationRequest) -> None:
    """Its lease runs out."""
    connect().delete(keys.lease(asked.request_id))


def positions(events: list[Any]) -> list[int]:
    """The positions of all tokens, as they come."""
    return [
        position
        for event in events
        if isinstance(event, Delta)
        for position in range(event.position, event.position + len(event.token_ids))
    ]


def until(condition: Callable[[], bool], *, timeout_s: float = 10.0, what: str = "") -> float:
    """Wait for it; returns the seconds it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - start
