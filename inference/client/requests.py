"""One request, from the site's side: submitted, cancelled, read, followed, forgotten."""

from __future__ import annotations

import asyncio
import dataclasses
from weakref import WeakKeyDictionary

from inference.client.exceptions import NoSuchRequest, QueueFull, names_redis_errors
from inference.contract import (
    Event,
    FinishReason,
    GenerationRequest,
    RequestState,
    Result,
    Stamp,
)
from inference.queue import ledger, records, recovery, wake_ups
from inference.queue.connection import settings
from inference.queue.hub import StreamHub


@names_redis_errors
def submit(request: GenerationRequest) -> None:
    """Put a request into its model's queue and wake a worker. A second time does nothing.

    Its seed must be drawn already, so that a resumed answer goes on alike: ValueError. Raises
    QueueFull, RedisUnavailable (nothing is left behind then).
    """
    if request.sampling.seed is None:
        raise ValueError("a request that is submitted needs a seed")
    request = dataclasses.replace(request, submitted=Stamp.now())
    outcome = ledger.submit(request)
    if outcome == "full":
        most = settings().max_waiting_of(request.source)
        raise QueueFull(f"{most} requests wait for this model already.")
    if outcome == "ok":
        try:
            wake_ups.send(request.model, request.source)
        except Exception:
            if ledger.withdraw(request):  # else a busy worker has claimed it without a wake-up
                raise


@names_redis_errors
def cancel(request_id: str) -> bool:
    """End a request: at once while it waits, within a step while it runs. False if it is over."""
    for _ in range(3):  # a worker may claim it meanwhile
        record = records.get(request_id)
        if record is None or record.state == RequestState.ENDED:
            return False
        if record.state == RequestState.RUNNING and ledger.request_cancel(record):
            return True
        if record.state == RequestState.WAITING and recovery.end(record, FinishReason.CANCELLED):
            return True
    return False


@names_redis_errors
def read(request_id: str) -> list[Event]:
    """Every event so far; empty when nothing was written or it is forgotten."""
    return records.events(request_id)


@names_redis_errors
def read_after(request_id: str, last_entry: str = "") -> tuple[list[Event], str]:
    """Events behind an entry of the request's stream ("" is its beginning), and the last one's id.

    Without new events the id is the same again.
    """
    return records.events_after(request_id, last_entry)


@names_redis_errors
def result(request_id: str) -> Result | None:
    """How the request ended; None while it hasn't. Raises NoSuchRequest."""
    events = records.events(request_id)
    if not events and not records.is_known(request_id):
        raise NoSuchRequest(f"No request {request_id[:8]} is known.")
    return events[-1] if events and isinstance(events[-1], Result) else None


@names_redis_errors
def is_known(request_id: str) -> bool:
    """Whether the request waits, runs, or has ended and isn't forgotten yet."""
    return records.is_known(request_id)


@names_redis_errors
def forget(request_id: str) -> None:
    """Let the stream of a stored answer expire in a minute, so that readers can finish."""
    ledger.forget(request_id)


@names_redis_errors
def queue_position(model: str, request_id: str) -> int | None:
    """1 is next; None when it doesn't wait."""
    return records.queue_position(model, request_id)


@names_redis_errors
def count_waiting(model: str) -> int:
    return records.count_waiting(model)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, StreamHub] = WeakKeyDictionary()


def hub() -> StreamHub:
    """The hub of the running event loop: one for all that this web process follows."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = StreamHub()
    return _hubs[loop]
