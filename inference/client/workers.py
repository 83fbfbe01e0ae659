"""Workers as the site sees them: their snapshots, and the commands to load and unload models."""

from __future__ import annotations

from typing import Any

from inference.client.exceptions import ClientError, WorkerSilent, names_redis_errors
from inference.contract import WorkerSnapshot
from inference.queue import worker_snapshots as snapshots
from inference.queue.broker import sender

ANSWER_S = 2.0


@names_redis_errors
def workers() -> list[WorkerSnapshot]:
    """The latest snapshot of each live worker, by name."""
    return snapshots.all_workers()


@names_redis_errors
def load_model(worker: str, model: str) -> None:
    """Ask a worker to load this model in place of its own; its requests go on in other workers.

    Returns when the worker has agreed; its snapshots show the progress. Raises ClientError with the
    worker's sentence when it refuses, WorkerSilent when no answer comes.
    """
    _command(worker, "load_model", {"model": model})


@names_redis_errors
def unload_model(worker: str) -> None:
    """Ask a worker to unload its model. Raises as load_model does."""
    _command(worker, "unload_model", {})


def _command(worker: str, command: str, arguments: dict[str, Any]) -> None:
    replies = sender().control.broadcast(
        command, arguments=arguments, destination=[worker], reply=True, timeout=ANSWER_S
    )
    for reply in replies or []:
        if worker in reply:
            if "error" in reply[worker]:
                raise ClientError(reply[worker]["error"])
            return
    raise WorkerSilent(f"{worker} didn't answer within {ANSWER_S:g} s.")
