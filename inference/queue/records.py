"""Reads what Redis knows of each request: its record, its events, its position in the queue.

Changes nothing; every move between the states is in ledger.py. Raises redis errors as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.contract import Event, GenerationRequest, RequestState, Source, from_wire
from inference.queue import keys
from inference.queue.connection import connect, settings
from inference.queue.entries import events_of


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as the ledger has it, without its prompt. Times in wall ms, 0 for not yet."""

    request_id: str
    state: RequestState
    attempt: int
    model: str
    source: Source
    worker: str
    submitted_ms: int
    claimed_ms: int
    expires_ms: int
    next_token: int  # tokens of the answer that the stream holds
    losses: int  # times that it lost its worker
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class FullRecord(RequestRecord):
    """A record with the request itself."""

    wire: str

    @property
    def request(self) -> GenerationRequest:
        return from_wire(GenerationRequest, self.wire)


SMALL_FIELDS = (
    "state", "attempt", "model", "source", "worker", "submitted_ms", "claimed_ms", "expires_ms",
    "next", "losses", "cancelled",
)  # fmt: skip


def get(request_id: str) -> FullRecord | None:
    """The request's record; None when it was never submitted or is forgotten."""
    *small, wire = connect().hmget(keys.request(request_id), *SMALL_FIELDS, "wire")
    if small[0] is None or wire is None:
        return None
    return FullRecord(**_fields(request_id, small), wire=wire.decode())


def live() -> list[tuple[RequestRecord, bool]]:
    """Every request that waits or runs, and whether it is under a lease.

    Reads the small fields alone: the prompts of hundreds of waiting requests are megabytes.
    """
    client = connect()
    ids = sorted(member.decode() for member in client.smembers(keys.live()))
    with client.pipeline(transaction=False) as pipe:
        for request_id in ids:
            pipe.hmget(keys.request(request_id), *SMALL_FIELDS)
            pipe.exists(keys.lease(request_id))
        answers = pipe.execute()
    found = []
    for request_id, fields, leased in zip(ids, answers[::2], answers[1::2], strict=True):
        if fields[0] is None:
            client.srem(keys.live(), request_id)
        else:
            found.append((RequestRecord(**_fields(request_id, fields)), bool(leased)))
    return found


def is_known(request_id: str) -> bool:
    return bool(connect().exists(keys.request(request_id)))


def is_leased(request_id: str) -> bool:
    """Whether a living worker runs it."""
    return bool(connect().exists(keys.lease(request_id)))


def ended() -> list[str]:
    """Requests whose terminal entry is written and not yet stored."""
    return sorted(member.decode() for member in connect().smembers(keys.ended()))


def queue_position(model: str, request_id: str) -> int | None:
    """Its position in the model's queue, 1 is next; None when it doesn't wait."""
    rank = connect().zrank(keys.waiting(model), request_id)
    return None if rank is None else int(rank) + 1


def count_waiting(model: str) -> int:
    return int(connect().zcard(keys.waiting(model)))


def events(request_id: str) -> list[Event]:
    """Every event of the request so far."""
    return events_after(request_id, "")[0]


def events_after(request_id: str, last_entry: str) -> tuple[list[Event], str]:
    """Events behind an entry of the stream ("" is its beginning), and the id of the last one.

    Entries that can't be read are passed over (events_of).
    """
    entries = connect().xrange(keys.stream(request_id), min=f"({last_entry}" if last_entry else "-")
    last = entries[-1][0].decode() if entries else last_entry
    found = events_of(entries, request_id=request_id)
    return [event for _, event in found if event is not None], last


def is_settled() -> bool:
    """False just after a start of Redis: leases may have run out that nobody could renew."""
    uptime = connect().info("server").get("uptime_in_seconds", 0)
    return float(uptime) > settings().lease_s + 1


def _fields(request_id: str, values: list[bytes | None]) -> dict[str, Any]:
    """The values of SMALL_FIELDS as arguments of RequestRecord."""
    found = {name: value or b"" for name, value in zip(SMALL_FIELDS, values, strict=True)}

    def whole(name: str) -> int:
        return int(found[name] or 0)

    return {
        "request_id": request_id,
        "state": RequestState(found["state"].decode()),
        "attempt": whole("attempt"),
        "model": found["model"].decode(),
        "source": found["source"].decode(),
        "worker": found["worker"].decode(),
        "submitted_ms": whole("submitted_ms"),
        "claimed_ms": whole("claimed_ms"),
        "expires_ms": whole("expires_ms"),
        "next_token": whole("next"),
        "losses": whole("losses"),
        "is_cancelled": bool(found["cancelled"]),
    }
