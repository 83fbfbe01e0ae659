"""Decides what becomes of requests that lost their worker or have waited too long.

Used by the site's periodic task and by a worker that gives up what it runs. Each decision is one
move in the ledger, so that any number of processes may try.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from kombu.exceptions import KombuError

from inference.contract import Delta, ErrorCode, Event, FinishReason, RequestState, Result
from inference.queue import ledger, records, wake_ups
from inference.queue.connection import REDIS_ERRORS, settings
from inference.queue.records import FullRecord, RequestRecord

log = logging.getLogger(__name__)


def resubmit(record: FullRecord, *, is_lost: bool = True, is_ours: bool = False) -> bool:
    """Let a running request go on from its last token in another worker.

    `is_lost` counts against it, `is_ours` says that the caller runs it. False when it must not go
    on: tried too often, cancelled meanwhile, or some worker has it.
    """
    if record.state != RequestState.RUNNING or record.is_cancelled:
        return False
    if is_lost and record.losses >= settings().max_losses:
        return False
    request = record.request
    tokens = tokens_of(records.events(record.request_id), continued=request.continue_from)
    again = dataclasses.replace(request, attempt=record.attempt + 1, continue_from=tokens)
    if not ledger.resubmit(record, again, is_lost=is_lost, is_ours=is_ours):
        return False
    try:
        wake_ups.send(again.model, again.source)
    except (*REDIS_ERRORS, KombuError) as error:  # the next look sends it
        log.warning("request %s: no wake-up was sent (%s)", record.request_id[:8], error)
    return True


def requeue(request_id: str, attempt: int, *, is_lost: bool, reason: Result) -> bool:
    """Put a request that the calling worker can't finish back into the queue, or end it.

    True if it ended. `is_lost` counts against the request as a crash does; after too many losses it
    ends with the error of `reason`.
    """
    record = _running(request_id, attempt)
    if record is None or resubmit(record, is_lost=is_lost, is_ours=True):
        return False
    record = _running(request_id, attempt)  # a cancel may have come between
    if record is None:
        return False
    if record.is_cancelled:
        return end(record, FinishReason.CANCELLED)
    return end(record, FinishReason.INTERRUPTED, code=reason.error_code, text=reason.error_text)


def _running(request_id: str, attempt: int) -> FullRecord | None:
    record = records.get(request_id)
    is_it = record and (record.state, record.attempt) == (RequestState.RUNNING, attempt)
    return record if is_it else None


def end(
    record: FullRecord, reason: FinishReason, *, code: ErrorCode | None = None, text: str = ""
) -> bool:
    """End a request that waits, or one whose worker is gone. False when it has moved meanwhile."""
    request = record.request
    result = Result(
        request_id=record.request_id,
        attempt=record.attempt,
        finish_reason=reason,
        error_code=code,
        error_text=text,
        prompt_tokens=len(request.prompt_token_ids),
        completion_tokens=record.next_token,
        continued_tokens=len(request.continue_from),
        worker=record.worker,
        seed=request.sampling.seed,
    )
    return ledger.end(record, result)


def end_expired(waiting: Iterable[RequestRecord]) -> None:
    """End requests that no worker took in time; those that had begun keep what they have."""
    now = ledger.now_ms()
    for expired in waiting:
        if now <= expired.expires_ms:
            continue
        record = records.get(expired.request_id)
        if record is None or record.state != RequestState.WAITING:
            continue  # claimed meanwhile
        if record.losses:
            text = "The model's worker stopped, and no other took over in time."
            end(record, FinishReason.INTERRUPTED, code=ErrorCode.WORKER_LOST, text=text)
        else:
            text = "No worker took this request up in time."
            end(record, FinishReason.FAILED, code=ErrorCode.EXPIRED, text=text)


def tokens_of(events: Iterable[Event], *, continued: tuple[int, ...]) -> tuple[int, ...]:
    """All tokens the answer has, `continued` ones first."""
    tokens = list(continued)
    for event in events:
        if isinstance(event, Delta) and event.position == len(tokens):
            tokens.extend(event.token_ids)
    return tuple(tokens)
