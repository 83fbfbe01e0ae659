"""Workers' snapshots in Redis: each writes its own once a second, and it expires soon after."""

from __future__ import annotations

from inference.contract import WorkerSnapshot, from_wire, to_wire
from inference.queue import keys
from inference.queue.connection import connect

KEPT_S = 6


def publish(snapshot: WorkerSnapshot) -> None:
    with connect().pipeline(transaction=False) as pipe:
        pipe.set(keys.worker(snapshot.worker), to_wire(snapshot), ex=KEPT_S)
        pipe.sadd(keys.workers(), snapshot.worker)
        pipe.execute()


def remove(worker: str) -> None:
    """Remove the snapshot of a worker that stops, instead of letting it expire."""
    with connect().pipeline(transaction=False) as pipe:
        pipe.delete(keys.worker(worker))
        pipe.srem(keys.workers(), worker)
        pipe.execute()


def all_workers() -> list[WorkerSnapshot]:
    """Each live worker's latest, by name."""
    client = connect()
    names = sorted(member.decode() for member in client.smembers(keys.workers()))
    texts = client.mget([keys.worker(name) for name in names]) if names else []
    if silent := [name for name, text in zip(names, texts, strict=True) if text is None]:
        client.srem(keys.workers(), *silent)
    return [from_wire(WorkerSnapshot, text) for text in texts if text is not None]
