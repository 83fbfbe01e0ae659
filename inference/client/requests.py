"""One request, from the site's side: put in line, cancelled, read, followed, forgotten."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from inference.client.exceptions import NoSuchRequest, QueueFull, redis_named
from inference.contract import Event, FinishReason, GenerationRequest, Result, Stamp
from inference.queue import broker, ledger
from inference.queue import recovery as rescue
from inference.queue.connection import settings
from inference.queue.hub import StreamHub


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """A request that waits or runs. Times in wall ms; 0 where it hasn't come to that."""

    request_id: str
    model: str
    state: str  # "waiting" | "running"
    attempt: int
    worker: str
    tokens: int  # of the answer so far
    submitted_ms: int
    claimed_ms: int
    is_leased: bool


@redis_named
def submit(request: GenerationRequest) -> None:
    """Put a request in line and its task on the model's queue. A second time does nothing.

    Draws a seed where there is none, so that a resumed answer goes on alike. Raises QueueFull,
    RedisUnavailable (nothing is left behind then).
    """
    sampling = request.sampling
    if sampling.seed is None:
        sampling = dataclasses.replace(sampling, seed=secrets.randbits(63))
    request = dataclasses.replace(request, sampling=sampling, submitted=Stamp.now())
    outcome = ledger.submit(request)
    if outcome == "full":
        most = settings().max_waiting_of(request.source)
        raise QueueFull(f"{most} requests wait for this model already.")
    if outcome == "ok":
        try:
            broker.send_generate(request)
        except Exception:
            ledger.withdraw(request)
            raise


@redis_named
def cancel(request_id: str) -> bool:
    """End a request: at once while it waits, within a step while it runs. False if it is over."""
    for _ in range(3):  # it may be taken up just now
        entry = ledger.look(request_id)
        if entry is None or entry.state == "ended":
            return False
        if entry.state == "running" and ledger.order_cancel(entry):
            return True
        if entry.state == "waiting" and rescue.end(entry, FinishReason.CANCELLED):
            return True
    return False


@redis_named
def read(request_id: str) -> list[Event]:
    """Every event so far; empty when nothing was written or it is forgotten."""
    return ledger.read(request_id)


@redis_named
def read_after(request_id: str, last_entry: str) -> tuple[list[Event], str]:
    """Events since an entry of the request's stream ("" for all), and the id of the last entry."""
    return ledger.read_after(request_id, last_entry)


@redis_named
def result(request_id: str) -> Result | None:
    """How the request ended; None while it hasn't. Raises NoSuchRequest."""
    events = ledger.read(request_id)
    if not events and ledger.look(request_id) is None:
        raise NoSuchRequest(f"No request {request_id[:8]} is known.")
    return events[-1] if events and isinstance(events[-1], Result) else None


@redis_named
def is_known(request_id: str) -> bool:
    """Whether the request is in line, runs, or has ended and isn't forgotten yet."""
    return ledger.look(request_id) is not None


@redis_named
def forget(request_id: str) -> None:
    """The answer is stored: its stream goes in a minute, when readers in flight are through."""
    ledger.forget(request_id)


@redis_named
def place_in_line(model: str, request_id: str) -> int | None:
    """1 is next; None when it doesn't wait."""
    return ledger.place(model, request_id)


@redis_named
def count_waiting(model: str) -> int:
    return ledger.count_waiting(model)


@redis_named
def live_requests() -> list[LiveRequest]:
    """All that waits or runs."""
    return [
        LiveRequest(
            request_id=entry.request_id,
            model=entry.model,
            state=entry.state,
            attempt=entry.attempt,
            worker=entry.worker,
            tokens=entry.next_token,
            submitted_ms=entry.submitted_ms,
            claimed_ms=entry.claimed_ms,
            is_leased=is_leased,
        )
        for entry, is_leased in ledger.live()
        if entry.state != "ended"
    ]


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, StreamHub] = WeakKeyDictionary()


def hub() -> StreamHub:
    """The hub of the running event loop: one for all that this web process follows."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = StreamHub()
    return _hubs[loop]
