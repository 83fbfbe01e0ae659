"""What the site's periodic task needs, so that no request is ever left behind."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from inference.client.exceptions import RedisUnavailable, redis_named
from inference.contract import ErrorCode, FinishReason
from inference.queue import keys, ledger, scripts
from inference.queue import recovery as rescue
from inference.queue.connection import connect

_UNLOCK = scripts.Script.of(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)


@redis_named
def unstored_results() -> list[str]:
    """Requests that have ended and whose answer nobody has stored."""
    return ledger.ended()


@redis_named
def lost_requests() -> list[str]:
    """Requests that run without a lease: their worker is gone.

    Waiting ones are looked after on the way: expired ones are ended, and those that fell out of
    their queue are put back.
    """
    live = ledger.live()
    waiting = [entry for entry, _ in live if entry.state == "waiting"]
    rescue.end_expired(waiting)
    rescue.resend_unqueued(waiting)
    lost = [entry.request_id for entry, leased in live if entry.state == "running" and not leased]
    return lost if lost and ledger.is_settled() else []


@redis_named
def resubmit(request_id: str) -> bool:
    """Let a lost request go on from its last token in another worker.

    False when it must not: tried too often, cancelled meanwhile, or not lost any more.
    """
    entry = ledger.look(request_id)
    return entry is not None and rescue.resubmit(entry)


@redis_named
def interrupt(request_id: str) -> bool:
    """End a lost request, keeping what was written; a cancelled one ends as cancelled.

    False for one that has ended, waits, or is in a living worker's hands.
    """
    entry = ledger.look(request_id)
    if entry is None or entry.state != "running" or ledger.is_leased(request_id):
        return False
    if entry.is_cancelled:
        return rescue.end(entry, FinishReason.CANCELLED)
    return rescue.end(
        entry,
        FinishReason.INTERRUPTED,
        code=ErrorCode.WORKER_LOST,
        text="The model's worker stopped.",
    )


@contextmanager
def one_at_a_time(name: str, *, seconds: int) -> Iterator[bool]:
    """A lock over all processes: yields whether it is ours. Ends by itself after `seconds`."""
    mine = secrets.token_hex(8)
    try:
        got = bool(connect().set(keys.lock(name), mine, nx=True, ex=seconds))
    except ledger.RedisTrouble as error:
        raise RedisUnavailable("Redis can't be reached") from error
    try:
        yield got
    finally:
        if got:
            with suppress(*ledger.RedisTrouble):  # it runs out by itself
                scripts.run(connect(), scripts.Call(_UNLOCK, [keys.lock(name)], [mine]))
