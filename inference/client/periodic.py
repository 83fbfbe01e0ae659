"""What the site's periodic task needs, so that no request is ever left behind."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from inference.client.exceptions import RedisUnavailable, names_redis_errors
from inference.contract import ErrorCode, FinishReason, RequestState
from inference.queue import keys, records, recovery, scripts, wake_ups
from inference.queue.connection import REDIS_ERRORS, connect
from inference.queue.records import RequestRecord

_UNLOCK = scripts.Script.of(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """A request that waits or runs. Times in ms of the wall clock, 0 for not yet."""

    request_id: str
    model: str
    state: RequestState  # waiting or running
    attempt: int
    worker: str
    tokens: int  # of the answer so far
    submitted_ms: int
    claimed_ms: int
    is_leased: bool


@dataclass(frozen=True, slots=True)
class Look:
    """The unfinished requests at one moment."""

    live: list[LiveRequest]
    lost: list[str]  # ids of running requests without a lease: their worker is gone


@names_redis_errors
def look() -> Look:
    """Read all unfinished requests, and tell which of them lost their worker.

    Also ends waiting requests that have expired, and sends wake-ups again that were lost together
    with the worker that had taken them.
    """
    live = _live()
    waiting = [record for record, _ in live if record.state == RequestState.WAITING]
    recovery.end_expired(waiting)
    wake_ups.send_missing(waiting)
    lost = [
        record.request_id
        for record, is_leased in live
        if record.state == RequestState.RUNNING and not is_leased
    ]
    return Look(
        live=[_live_request(record, is_leased) for record, is_leased in live],
        lost=lost if lost and records.is_settled() else [],
    )


def lost_requests() -> list[str]:
    """Ids of the requests that lost their worker. Has the side effects of `look`."""
    return look().lost


@names_redis_errors
def live_requests() -> list[LiveRequest]:
    """All requests that wait or run. Changes nothing."""
    return [_live_request(record, is_leased) for record, is_leased in _live()]


@names_redis_errors
def unstored_results() -> list[str]:
    """Requests that have ended and whose answer nobody has stored."""
    return records.ended()


@names_redis_errors
def resubmit(request_id: str) -> bool:
    """Let a lost request go on from its last token in another worker.

    False when it must not: tried too often, cancelled meanwhile, or not lost any more.
    """
    record = records.get(request_id)
    return record is not None and recovery.resubmit(record)


@names_redis_errors
def interrupt(request_id: str) -> bool:
    """End a lost request, keeping what was written; a cancelled one ends as cancelled.

    False for one that has ended, waits, or is in a living worker's hands.
    """
    record = records.get(request_id)
    if record is None or record.state != RequestState.RUNNING or records.is_leased(request_id):
        return False
    if record.is_cancelled:
        return recovery.end(record, FinishReason.CANCELLED)
    return recovery.end(
        record,
        FinishReason.INTERRUPTED,
        code=ErrorCode.WORKER_LOST,
        text=ErrorCode.WORKER_LOST.sentence,
    )


@contextmanager
def one_at_a_time(name: str, *, seconds: int) -> Iterator[bool]:
    """A lock over all processes: yields whether it is ours. Ends by itself after `seconds`."""
    mine = secrets.token_hex(8)
    try:
        got = bool(connect().set(keys.lock(name), mine, nx=True, ex=seconds))
    except REDIS_ERRORS as error:
        raise RedisUnavailable("Redis can't be reached") from error
    try:
        yield got
    finally:
        if got:
            with suppress(*REDIS_ERRORS):  # it runs out by itself
                scripts.run(connect(), scripts.Call(_UNLOCK, [keys.lock(name)], [mine]))


def _live() -> list[tuple[RequestRecord, bool]]:
    return [found for found in records.live() if found[0].state != RequestState.ENDED]


def _live_request(record: RequestRecord, is_leased: bool) -> LiveRequest:
    return LiveRequest(
        request_id=record.request_id,
        model=record.model,
        state=record.state,
        attempt=record.attempt,
        worker=record.worker,
        tokens=record.next_token,
        submitted_ms=record.submitted_ms,
        claimed_ms=record.claimed_ms,
        is_leased=is_leased,
    )
