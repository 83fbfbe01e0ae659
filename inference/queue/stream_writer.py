"""Writes the entries of running answers: one pipeline for all requests of a step.

Writing is idempotent: what the stream has already is skipped, and a gap is reported. So a pipeline
whose reply was lost can simply be sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from inference.contract import Delta, Event, RequestState, Result
from inference.queue import keys, scripts
from inference.queue.connection import connect
from inference.queue.entries import entry_of
from inference.queue.ledger import finishing
from inference.queue.scripts import Call


@dataclass(frozen=True, slots=True)
class Gap:
    """Not written: token `position` must come first. Redis lost what it had taken."""

    position: int


Outcome = Literal["written", "known", "refused"] | Gap


def append(events: Sequence[Event], *, models: Mapping[str, str]) -> list[Outcome]:
    """Write events in order; returns the outcome of each. "refused": the attempt is over.

    `models` names each request's model: its Result takes the request off that model's queue.
    """
    if not events:
        return []
    calls = [_call(event, models) for event in events]
    return [_outcome(int(answer)) for answer in scripts.run_all(connect(), calls)]


def _call(event: Event, models: Mapping[str, str]) -> Call:
    if isinstance(event, Result):
        return finishing(
            event,
            model=models.get(event.request_id, ""),
            state=RequestState.RUNNING,
            tokens=event.completion_tokens,
        )
    position, count = (event.position, len(event.token_ids)) if isinstance(event, Delta) else (0, 0)
    return Call(
        scripts.APPEND,
        [keys.request(event.request_id), keys.stream(event.request_id)],
        [event.attempt, *entry_of(event), position, count],
    )


def _outcome(answer: int) -> Outcome:
    if answer < 0:
        return Gap(-answer - 1)
    return ("refused", "written", "known")[answer]  # type: ignore[return-value]
