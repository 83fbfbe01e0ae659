"""The workers: what they say of themselves, and which model they should hold."""

from __future__ import annotations

from typing import Any

from inference.client.exceptions import ClientError, WorkerSilent, redis_named
from inference.contract import WorkerSnapshot
from inference.queue import worker_snapshots as snapshots
from inference.queue.broker import sender

ANSWER_S = 2.0


@redis_named
def workers() -> list[WorkerSnapshot]:
    """What each live worker says of itself, by name."""
    return snapshots.all_workers()


@redis_named
def load_model(worker: str, model: str) -> None:
    """Ask a worker to hold this model; what it runs goes on elsewhere.

    Its snapshots tell how far it is. Raises ClientError with the worker's sentence when it refuses,
    WorkerSilent when it says nothing.
    """
    _tell(worker, "load_model", {"model": model})


@redis_named
def unload_model(worker: str) -> None:
    """Ask a worker to hold no model. Raises as load_model does."""
    _tell(worker, "unload_model", {})


def _tell(worker: str, command: str, arguments: dict[str, Any]) -> None:
    replies = sender().control.broadcast(
        command, arguments=arguments, destination=[worker], reply=True, timeout=ANSWER_S
    )
    for reply in replies or []:
        if worker in reply:
            if "error" in reply[worker]:
                raise ClientError(reply[worker]["error"])
            return
    raise WorkerSilent(f"{worker} didn't answer within {ANSWER_S:g} s.")
