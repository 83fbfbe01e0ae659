"""What is known of each request: waiting, running under a lease, or ended; and every move between.

Synchronous, for site and worker alike. A request is moved by whoever holds its current attempt; an
older one is refused. Raises redis errors as they are: client.py gives them a name for people.
Entries of a running answer are written in writing.py; what to do about lost ones is in rescue.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import redis

from inference.contract import Event, GenerationRequest, Result, Stamp, Started, from_wire, to_wire
from inference.queue import keys, scripts
from inference.queue.connection import connect, settings
from inference.queue.entries import entry_of, event_of
from inference.queue.scripts import Call

PRIORITY_WEIGHT = 1e13  # more than any time in ms, so that a better priority always comes first
ORDERS_S = 60

State = Literal["waiting", "running", "ended"]
RedisTrouble = (redis.RedisError, OSError)


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as the ledger has it."""

    request_id: str
    state: State
    attempt: int
    model: str
    wire: str
    worker: str
    submitted_ms: int
    sent_ms: int
    claimed_ms: int
    expires_ms: int
    next_token: int  # tokens of the answer that the stream holds
    losses: int  # times that it lost its worker
    is_cancelled: bool

    @property
    def request(self) -> GenerationRequest:
        return from_wire(GenerationRequest, self.wire)


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of taking a request up. Only "ok" brings the request.

    "gone": forgotten; "late": this attempt is over or somebody else has it; "other": it is for
    another model; "expired": it waited too long, and will be ended as such.
    """

    outcome: Literal["ok", "gone", "late", "other", "expired"]
    request: GenerationRequest | None = None
    model: str = ""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def submit(request: GenerationRequest) -> str:
    """Put a request in line: "ok", "duplicate" or "full"."""
    now = now_ms()
    call = Call(
        scripts.SUBMIT,
        [keys.request(request.request_id), keys.waiting(request.model), keys.live()],
        [
            request.request_id,
            to_wire(request),
            request.model,
            request.priority * PRIORITY_WEIGHT + now,
            settings().max_waiting_of(request.source),
            now,
            now + int(request.expires_s * 1000),
            request.attempt,
            settings().stream_s,
            len(request.continue_from),
            request.source,
        ],
    )
    return bytes(scripts.run(connect(), call)).decode()


def withdraw(request: GenerationRequest) -> None:
    """Undo a submit whose task could not be sent."""
    with connect().pipeline() as pipe:
        pipe.delete(keys.request(request.request_id))
        pipe.zrem(keys.waiting(request.model), request.request_id)
        pipe.srem(keys.live(), request.request_id)
        pipe.execute()


def claim(request_id: str, attempt: int, *, worker: str, model: str) -> Claim:
    """Take a waiting request up, with a lease; its stream says so with a Started entry."""
    started = Started(request_id=request_id, attempt=attempt, worker=worker, stamp=Stamp.now())
    call = Call(
        scripts.CLAIM,
        [
            keys.request(request_id),
            keys.waiting(model),
            keys.lease(request_id),
            keys.stream(request_id),
        ],
        [
            request_id,
            attempt,
            worker,
            int(settings().lease_s * 1000),
            *entry_of(started),
            model,
            now_ms(),
            settings().stream_s,
        ],
    )
    answer = [bytes(part).decode() for part in scripts.run(connect(), call)]
    match answer:
        case ["ok", wire]:
            return Claim("ok", from_wire(GenerationRequest, wire), model)
        case ["other", other]:
            return Claim("other", model=other)
        case [outcome]:
            return Claim(outcome)  # type: ignore[arg-type]
    raise redis.ResponseError(f"claim answered {answer!r}")


def finishing(
    result: Result, *, model: str, state: State, raised: int = 0, tokens: int | str = ""
) -> Call:
    """The call that writes a terminal entry, once, if the request is in `state` still.

    `raised` is the attempt afterwards, by default the same; `tokens` must be in the stream before.
    """
    request_id = result.request_id
    attempt = result.attempt
    return Call(
        scripts.FINISH,
        [
            keys.request(request_id),
            keys.stream(request_id),
            keys.lease(request_id),
            keys.live(),
            keys.ended(),
            keys.waiting(model),
        ],
        [
            request_id,
            attempt,
            *entry_of(result),
            settings().stream_s,
            state,
            raised or attempt,
            tokens,
        ],
    )


def end(entry: Entry, result: Result) -> bool:
    """End a request that nobody runs. A waiting one's attempt is raised: its task finds it gone.

    False when it has moved since `entry` was read.
    """
    raised = entry.attempt + 1 if entry.state == "waiting" else 0
    call = finishing(result, model=entry.model, state=entry.state, raised=raised)
    return int(scripts.run(connect(), call)) == 1


def order_cancel(entry: Entry) -> bool:
    """Tell the worker that runs it; should that worker be lost, the mark stays.

    False when this attempt is over.
    """
    call = Call(scripts.CANCEL, [keys.request(entry.request_id)], [entry.attempt])
    if not scripts.run(connect(), call):
        return False
    with connect().pipeline() as pipe:
        pipe.rpush(keys.orders(entry.worker), f"cancel {entry.request_id}")
        pipe.expire(keys.orders(entry.worker), ORDERS_S)
        pipe.execute()
    return True


def refresh(running: Iterable[tuple[str, int]]) -> dict[str, Literal["ours", "cancelled", "lost"]]:
    """Renew the leases of (request id, attempt), and learn how each stands."""
    running = list(running)
    lease_ms = int(settings().lease_s * 1000)
    calls = [
        Call(scripts.REFRESH, [keys.request(id_), keys.lease(id_)], [attempt, lease_ms])
        for id_, attempt in running
    ]
    answers = scripts.run_all(connect(), calls) if calls else []
    return {id_: answer.decode() for (id_, _), answer in zip(running, answers, strict=True)}


def resubmit(entry: Entry, request: GenerationRequest, *, is_lost: bool, is_ours: bool) -> bool:
    """Put a running request back in line as its next attempt, at its old place.

    A lost one waits `recovery_wait_s` at most; a person looks at it.

    `is_ours`: the caller runs it itself; otherwise its lease must have run out. False when it has
    moved, was cancelled, or has other tokens than `request` continues from.
    """
    now = now_ms()
    wait_s = settings().recovery_wait_s if is_lost else request.expires_s
    call = Call(
        scripts.RESUBMIT,
        [keys.request(entry.request_id), keys.waiting(entry.model), keys.lease(entry.request_id)],
        [
            entry.request_id,
            entry.attempt,
            to_wire(request),
            now,
            now + int(wait_s * 1000),
            len(request.continue_from),
            int(is_lost),
            "held" if is_ours else "",
        ],
    )
    return bool(scripts.run(connect(), call))


def mark_sent(request_ids: Iterable[str]) -> None:
    """Note that these requests' tasks are on their queue now."""
    now = now_ms()
    with connect().pipeline(transaction=False) as pipe:
        for request_id in request_ids:
            pipe.hset(keys.request(request_id), "sent_ms", now)
        pipe.execute()


def forget(request_id: str) -> None:
    """The answer is stored: let the stream go once readers in flight are through."""
    with connect().pipeline() as pipe:
        pipe.srem(keys.ended(), request_id)
        pipe.expire(keys.stream(request_id), settings().forget_s)
        pipe.expire(keys.request(request_id), settings().forget_s)
        pipe.execute()


# --- looking -------------------------------------------------------------------------------------


def look(request_id: str) -> Entry | None:
    """The request as the ledger has it; None when it was never submitted or is forgotten."""
    return _entry(request_id, connect().hgetall(keys.request(request_id)))


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


def is_leased(request_id: str) -> bool:
    """Whether a living worker runs it."""
    return bool(connect().exists(keys.lease(request_id)))


def ended() -> list[str]:
    """Requests whose terminal entry is written and not yet stored."""
    return sorted(member.decode() for member in connect().smembers(keys.ended()))


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


def read_after(request_id: str, last_entry: str) -> tuple[list[Event], str]:
    """Events behind an entry of the stream ("" is its beginning), and the id of the last one."""
    entries = connect().xrange(keys.stream(request_id), min=f"({last_entry}" if last_entry else "-")
    last = entries[-1][0].decode() if entries else last_entry
    return [event_of(fields) for _, fields in entries], last


def is_settled() -> bool:
    """False just after Redis has (re)started: leases ran out meanwhile that nobody could renew."""
    uptime = connect().info("server").get("uptime_in_seconds", 0)
    return float(uptime) > settings().lease_s + 1


def _entry(request_id: str, fields: dict[bytes, bytes]) -> Entry | None:
    if b"state" not in fields:
        return None

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode()

    def whole(name: bytes) -> int:
        return int(fields.get(name) or 0)

    return Entry(
        request_id=request_id,
        state=text(b"state"),  # type: ignore[arg-type]
        attempt=whole(b"attempt"),
        model=text(b"model"),
        wire=text(b"wire"),
        worker=text(b"worker"),
        submitted_ms=whole(b"submitted_ms"),
        sent_ms=whole(b"sent_ms"),
        claimed_ms=whole(b"claimed_ms"),
        expires_ms=whole(b"expires_ms"),
        next_token=whole(b"next"),
        losses=whole(b"losses"),
        is_cancelled=b"cancelled" in fields,
    )
