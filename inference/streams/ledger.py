"""What is known of each request: waiting, running under a lease, or ended; and every move between.

Synchronous, for site and worker alike. A request is moved by whoever holds its current attempt; an
older one is refused. Raises redis errors as they are: client.py gives them a name for people.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis

from inference.contract import (
    Delta,
    Event,
    GenerationRequest,
    Result,
    Stamp,
    Started,
    from_wire,
    to_wire,
)
from inference.streams import keys, scripts
from inference.streams.entries import entry_of, event_of
from inference.streams.settings import connect, settings

PRIORITY_WEIGHT = 1e13  # more than any time in ms, so that a better priority always comes first


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as the ledger has it."""

    request_id: str
    state: str  # "waiting" | "running" | "ended"
    attempt: int
    model: str
    wire: str
    worker: str
    sent_ms: int
    expires_ms: int
    is_cancelled: bool

    @property
    def request(self) -> GenerationRequest:
        return from_wire(GenerationRequest, self.wire)


@cache
def _script(source: str) -> Any:
    return connect().register_script(source)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def submit(request: GenerationRequest) -> str:
    """Put a request in line: "ok", "duplicate" or "full"."""
    now = now_ms()
    outcome: bytes = _script(scripts.SUBMIT)(
        keys=[keys.request(request.request_id), keys.waiting(request.model), keys.live()],
        args=[
            request.request_id,
            to_wire(request),
            request.model,
            request.priority * PRIORITY_WEIGHT + now,
            settings().max_waiting,
            now,
            now + int(request.expires_s * 1000),
            request.attempt,
            settings().stream_s,
            request.priority,
        ],
    )
    return outcome.decode()


def withdraw(request: GenerationRequest) -> None:
    """Undo a submit whose task could not be sent."""
    with connect().pipeline() as pipe:
        pipe.delete(keys.request(request.request_id))
        pipe.zrem(keys.waiting(request.model), request.request_id)
        pipe.srem(keys.live(), request.request_id)
        pipe.execute()


def claim(request: GenerationRequest, worker: str) -> bool:
    """Take a waiting request up. False when this attempt is over or somebody else has it."""
    started = Started(
        request_id=request.request_id, attempt=request.attempt, worker=worker, stamp=Stamp.now()
    )
    return bool(
        _script(scripts.CLAIM)(
            keys=[
                keys.request(request.request_id),
                keys.waiting(request.model),
                keys.lease(request.request_id),
                keys.stream(request.request_id),
            ],
            args=[
                request.request_id,
                request.attempt,
                worker,
                int(settings().lease_s * 1000),
                *entry_of(started),
            ],
        )
    )


def append(events: Iterable[Event], *, models: dict[str, str]) -> list[Event]:
    """Write a step's events in one pipeline. Returns those that were refused as too old.

    `models` names each request's model, which a Result needs to leave the right line.
    """
    events = list(events)
    client = connect()
    append_script, finish_script = _script(scripts.APPEND), _script(scripts.FINISH)
    with client.pipeline(transaction=False) as pipe:
        for event in events:
            if isinstance(event, Result):
                names, args = _finishing(event, model=models.get(event.request_id, ""))
                finish_script(keys=names, args=args, client=pipe)
            else:
                append_script(
                    keys=[keys.request(event.request_id), keys.stream(event.request_id)],
                    args=[event.attempt, *entry_of(event)],
                    client=pipe,
                )
        written = pipe.execute()
    return [event for event, done in zip(events, written, strict=True) if not done]


def finish(result: Result, *, model: str) -> bool:
    """Write the terminal entry, once. False when this attempt is over or it has ended already."""
    names, args = _finishing(result, model=model)
    return bool(_script(scripts.FINISH)(keys=names, args=args))


def _finishing(
    result: Result, *, model: str, expected: int | None = None
) -> tuple[list[str], list[Any]]:
    request_id = result.request_id
    names = [
        keys.request(request_id),
        keys.stream(request_id),
        keys.lease(request_id),
        keys.live(),
        keys.ended(),
        keys.waiting(model),
    ]
    attempt = result.attempt if expected is None else expected
    raised: Any = "" if expected is None else result.attempt
    return names, [request_id, attempt, *entry_of(result), settings().stream_s, raised]


def end_waiting(entry: Entry, result: Result) -> bool:
    """End a request that still waits, raising its attempt so that its task finds it gone."""
    names, args = _finishing(result, model=entry.model, expected=entry.attempt)
    return bool(_script(scripts.FINISH)(keys=names, args=args))


def order_cancel(entry: Entry) -> None:
    """Tell the worker that runs it; should that worker be lost, the mark stays."""
    with connect().pipeline() as pipe:
        pipe.hset(keys.request(entry.request_id), "cancelled", "1")
        pipe.rpush(keys.orders(entry.worker), f"cancel {entry.request_id}")
        pipe.expire(keys.orders(entry.worker), 60)
        pipe.execute()


def refresh(running: Iterable[tuple[str, int]]) -> list[str]:
    """Renew the leases of (request id, attempt). Returns those that were lost."""
    running = list(running)
    if not running:
        return []
    script = _script(scripts.REFRESH)
    with connect().pipeline(transaction=False) as pipe:
        for request_id, attempt in running:
            script(
                keys=[keys.request(request_id), keys.lease(request_id)],
                args=[attempt, int(settings().lease_s * 1000)],
                client=pipe,
            )
        renewed = pipe.execute()
    return [item[0] for item, done in zip(running, renewed, strict=True) if not done]


def hand_back(request_ids: Iterable[str]) -> None:
    """Give up leases at once, so that others needn't wait until they run out."""
    names = [keys.lease(request_id) for request_id in request_ids]
    if names:
        connect().delete(*names)


def resubmit(entry: Entry, request: GenerationRequest) -> bool:
    """Put a lost request back in line as its next attempt. False when somebody was faster."""
    now = now_ms()
    return bool(
        _script(scripts.RESUBMIT)(
            keys=[
                keys.request(entry.request_id),
                keys.waiting(entry.model),
                keys.lease(entry.request_id),
            ],
            args=[
                entry.request_id,
                entry.attempt,
                to_wire(request),
                now,
                now + int(request.expires_s * 1000),
            ],
        )
    )


def look(request_id: str) -> Entry | None:
    """The request as the ledger has it; None when it was never submitted or is forgotten."""
    return _entry(request_id, connect().hgetall(keys.request(request_id)))


def _entry(request_id: str, fields: dict[bytes, bytes]) -> Entry | None:
    if not fields or b"state" not in fields:
        return None

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode()

    return Entry(
        request_id=request_id,
        state=text(b"state"),
        attempt=int(fields[b"attempt"]),
        model=text(b"model"),
        wire=text(b"wire"),
        worker=text(b"worker"),
        sent_ms=int(text(b"sent_ms") or 0),
        expires_ms=int(text(b"expires_ms") or 0),
        is_cancelled=b"cancelled" in fields,
    )


def live() -> list[tuple[Entry, bool]]:
    """Every request that waits or runs, and whether it is under a lease."""
    client = connect()
    ids = sorted(member.decode() for member in client.smembers(keys.live()))
    with client.pipeline(transaction=False) as pipe:
        for request_id in ids:
            pipe.hgetall(keys.request(request_id))
            pipe.exists(keys.lease(request_id))
        answers = pipe.execute()
    found = []
    for request_id, fields, leased in zip(ids, answers[::2], answers[1::2], strict=True):
        entry = _entry(request_id, fields)
        if entry is None:
            client.srem(keys.live(), request_id)
        else:
            found.append((entry, bool(leased)))
    return found


def mark_sent(request_id: str) -> None:
    connect().hset(keys.request(request_id), "sent_ms", now_ms())


def ended() -> list[str]:
    return sorted(member.decode() for member in connect().smembers(keys.ended()))


def forget(request_id: str) -> None:
    """The answer is stored: let the stream go once readers in flight are through."""
    with connect().pipeline() as pipe:
        pipe.srem(keys.ended(), request_id)
        pipe.expire(keys.stream(request_id), settings().forget_s)
        pipe.expire(keys.request(request_id), settings().forget_s)
        pipe.execute()


def place(model: str, request_id: str) -> int | None:
    """Place in line, 1 is next; None when it doesn't wait."""
    rank = connect().zrank(keys.waiting(model), request_id)
    return None if rank is None else int(rank) + 1


def count_waiting(model: str) -> int:
    return int(connect().zcard(keys.waiting(model)))


def read(request_id: str) -> list[Event]:
    """Every event of the request so far."""
    entries = connect().xrange(keys.stream(request_id))
    return [event_of(fields) for _, fields in entries]


def tokens_of(events: Iterable[Event], *, continued: tuple[int, ...]) -> tuple[int, ...]:
    """All tokens the answer has, `continued` ones first."""
    tokens = list(continued)
    for event in events:
        if isinstance(event, Delta) and event.position == len(tokens):
            tokens.extend(event.token_ids)
    return tuple(tokens)


def is_settled() -> bool:
    """False just after Redis has (re)started: leases ran out meanwhile that nobody could renew."""
    uptime = connect().info("server").get("uptime_in_seconds", 0)
    return float(uptime) > settings().lease_s + 1


RedisTrouble = (redis.RedisError, OSError)
