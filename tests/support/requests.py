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


def is_claimed(asked: GenerationRequest, worker: str = "w1") -> bool:
    claim = ledger.claim(asked.request_id, asked.attempt, worker=worker, model=asked.model)
    return claim.outcome == "ok"


def running(asked: GenerationRequest) -> GenerationRequest:
    """Put in line and taken up by worker w1."""
    assert ledger.submit(asked) == "ok"
    assert is_claimed(asked)
    return asked


def write(*events: Any) -> list[writing.Outcome]:
    return writing.append(events, models={event.request_id: MODEL for event in events})


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
