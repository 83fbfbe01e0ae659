"""A worker process from start to end, by Celery's signals."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import signals

from inference.queue.broker import is_api_queue
from inference.text import ModelFolderError
from inference.worker import standby
from inference.worker.cancel_listener import CancelListener
from inference.worker.celery_consumer import membership
from inference.worker.heartbeat import Heartbeat
from inference.worker.reserved_capacity import ReservedCapacity
from inference.worker.runtime import WorkerRuntime
from inference.worker.worker_config import WorkerSettings

log = logging.getLogger(__name__)

runtime: WorkerRuntime | None = None
_heartbeat: Heartbeat | None = None
_cancel_listener: CancelListener | None = None


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _begin(sender: str, instance: Any, **_: Any) -> None:
    """Start engine and threads. A setting or a model that can't be used ends the process."""
    global runtime, _heartbeat, _cancel_listener
    capacity = ReservedCapacity(instance.concurrency, on_change=membership.refresh)
    membership.begin(instance.app.amqp.queues, is_api_full=lambda: capacity.is_api_full)
    if standby.stands_by():
        membership.hold()
    try:
        runtime = WorkerRuntime(
            WorkerSettings.from_env(), worker=sender, membership=membership, capacity=capacity
        )
        runtime.start()
    except (ModelFolderError, ValueError) as error:
        raise SystemExit(f"The worker can't start: {error}") from error
    _heartbeat, _cancel_listener = Heartbeat(runtime), CancelListener(runtime)
    if standby.stands_by():
        _heartbeat.is_hidden = True
    else:
        _cancel_listener.start()
    _heartbeat.start()
    standby.begin(is_ready=lambda: runtime is not None and runtime.was_ready, take_over=_take_over)


def _take_over() -> None:
    """The worker that served is gone: serve in its place, under its name."""
    if _heartbeat is not None and _cancel_listener is not None:
        _heartbeat.is_hidden = False
        _cancel_listener.start()
        membership.release()


@signals.task_received.connect  # type: ignore[untyped-decorator]
def _received(request: Any, **_: Any) -> None:
    """Count a place for API traffic before the consumer asks for the next task.

    In the pool's thread it would come too late: wake-ups that this worker can't use would be taken.
    """
    if runtime is not None and is_api_queue(request.delivery_info.get("routing_key")):
        runtime.capacity.take_api_place(request.id)


@signals.task_postrun.connect  # type: ignore[untyped-decorator]
def _ended(task_id: str, **_: Any) -> None:
    if runtime is not None:
        runtime.capacity.release_api_place(task_id)  # should the task have failed at its arguments
    membership.task_has_ended()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _leave(**_: Any) -> None:
    """Put back what runs: tasks wait for the engine, and the pool waits for its tasks."""
    if runtime is not None:
        runtime.leave()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _end(sender: Any, **_: Any) -> None:
    """All is given back: leave at once. To take torch down with the interpreter costs a second and
    more, in which the supervisor waits, and a thread still inside torch would crash it.
    """
    if runtime is None or _heartbeat is None or _cancel_listener is None:
        return
    _cancel_listener.stop()
    is_ended = runtime.stop()
    _heartbeat.stop()
    if not is_ended:
        log.warning("the engine is still busy; leaving without it")
    logging.shutdown()
    os._exit(sender.exitcode or 0)
