"""Moves requests between waiting, running under a lease, and ended.

The sorted set of a model's waiting requests is its queue: `claim_next` takes the best of them.
Synchronous, for site and worker alike. A request is moved by whoever holds its current attempt; an
older one is refused. Raises redis errors as they are: inference.client gives them a name for
people. Reading is in records.py, the entries of a running answer are written in stream_writer.py,
and what to do about lost requests is decided in recovery.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import redis

from inference.contract import (
    GenerationRequest,
    RequestState,
    Result,
    Source,
    Stamp,
    from_wire,
    to_wire,
)
from inference.queue import keys, scripts
from inference.queue.connection import connect, settings
from inference.queue.entries import entry_of, started_entry
from inference.queue.records import RequestRecord
from inference.queue.scripts import Call

PRIORITY_WEIGHT = 10**12  # more than requests ever come, so that a better priority always is first
RESUMED_FIRST = 3000  # more than priorities differ: an answer that had begun goes before all others
CANCELLATIONS_S = 60

LeaseState = Literal["ours", "cancelled", "lost"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What `claim_next` found. `is_rest_barred`: requests wait that `only` excludes."""

    request: GenerationRequest | None = None
    is_rest_barred: bool = False


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def rank_of(request: GenerationRequest) -> int:
    """The request's score in the queue, without its arrival, which decides a tie; lower goes first.

    Answers that had begun go before new ones of people, and those before API traffic by its
    priority. Exact as a float together with the arrival: 3,000 · 10^12 is below 2^53.
    """
    resumed = RESUMED_FIRST if request.attempt > 1 else 0
    return (request.priority - resumed) * PRIORITY_WEIGHT


def submit(request: GenerationRequest) -> str:
    """Put a request into its model's queue: "ok", "duplicate" or "full"."""
    now = now_ms()
    call = Call(
        scripts.SUBMIT,
        [
            keys.request(request.request_id),
            keys.waiting(request.model),
            keys.live(),
            keys.arrivals(),
        ],
        [
            request.request_id,
            to_wire(request),
            request.model,
            rank_of(request),
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


def withdraw(request: GenerationRequest) -> bool:
    """Undo a submit. False when a worker has taken the request already."""
    request_id = request.request_id
    call = Call(
        scripts.WITHDRAW,
        [keys.request(request_id), keys.waiting(request.model), keys.live()],
        [request_id],
    )
    return bool(scripts.run(connect(), call))


def claim_next(model: str, *, worker: str, only: Source | None = None) -> Claim:
    """Take the best waiting request of a model, with a lease; its stream gets a Started entry.

    With `only`, requests of the other source are left where they are. Expired requests are passed
    over: the periodic task ends them.
    """
    call = Call(
        scripts.CLAIM_NEXT,
        [keys.waiting(model)],
        [
            worker,
            int(settings().lease_s * 1000),
            now_ms(),
            settings().stream_s,
            only or "",
            keys.request(""),
            keys.lease(""),
            keys.stream(""),
            *started_entry(worker=worker, stamp=Stamp.now()),
        ],
    )
    match scripts.run(connect(), call):
        case [b"ok", wire]:
            return Claim(from_wire(GenerationRequest, wire))
        case [b"none", passed_over]:
            return Claim(is_rest_barred=bool(passed_over))
        case answer:
            raise redis.ResponseError(f"CLAIM_NEXT answered {answer!r}")


def finishing(
    result: Result, *, model: str, state: RequestState, raised: int = 0, tokens: int | str = ""
) -> Call:
    """The script call that writes a terminal entry, once, if the request is still in `state`.

    `raised` is the attempt number afterwards, by default unchanged. The stream must hold `tokens`
    tokens of the answer first.
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


def end(record: RequestRecord, result: Result) -> bool:
    """End a request that nobody runs; the attempt of a waiting one is raised.

    False when it has moved since `record` was read.
    """
    raised = record.attempt + 1 if record.state == RequestState.WAITING else 0
    call = finishing(result, model=record.model, state=record.state, raised=raised)
    return int(scripts.run(connect(), call)) == 1


def request_cancel(record: RequestRecord) -> bool:
    """Ask the worker that runs the request to cancel it. False when this attempt is over.

    The request stays marked, so that it isn't resumed should that worker be lost.
    """
    call = Call(scripts.CANCEL, [keys.request(record.request_id)], [record.attempt])
    if not scripts.run(connect(), call):
        return False
    with connect().pipeline() as pipe:
        pipe.rpush(keys.cancellations(record.worker), record.request_id)
        pipe.expire(keys.cancellations(record.worker), CANCELLATIONS_S)
        pipe.execute()
    return True


def renew_leases(running: Iterable[tuple[str, int]]) -> dict[str, LeaseState]:
    """Renew the leases of (request id, attempt), and learn the state of each."""
    running = list(running)
    lease_ms = int(settings().lease_s * 1000)
    calls = [
        Call(scripts.REFRESH, [keys.request(id_), keys.lease(id_)], [attempt, lease_ms])
        for id_, attempt in running
    ]
    answers = scripts.run_all(connect(), calls) if calls else []
    return {id_: answer.decode() for (id_, _), answer in zip(running, answers, strict=True)}


def resubmit(
    record: RequestRecord, request: GenerationRequest, *, is_lost: bool, is_ours: bool
) -> bool:
    """Put a running request back into the queue as its next attempt, before those not begun.

    A lost one waits `recovery_wait_s` at most. `is_ours`: the caller runs it itself; otherwise its
    lease must have run out. False when it has moved, was cancelled, or has other tokens than
    `request` continues from.
    """
    wait_s = settings().recovery_wait_s if is_lost else request.expires_s
    call = Call(
        scripts.RESUBMIT,
        [
            keys.request(record.request_id),
            keys.waiting(record.model),
            keys.lease(record.request_id),
        ],
        [
            record.request_id,
            record.attempt,
            to_wire(request),
            rank_of(request),
            now_ms() + int(wait_s * 1000),
            len(request.continue_from),
            int(is_lost),
            "held" if is_ours else "",
        ],
    )
    return bool(scripts.run(connect(), call))


def forget(request_id: str) -> None:
    """Let record and stream of a stored answer expire soon; readers can finish before."""
    with connect().pipeline() as pipe:
        pipe.srem(keys.ended(), request_id)
        pipe.expire(keys.stream(request_id), settings().forget_s)
        pipe.expire(keys.request(request_id), settings().forget_s)
        pipe.execute()
