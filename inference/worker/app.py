"""The Celery app: settings, the one task, and the worker's life from Celery's signals.

Run with `--pool=threads`: a task hands its request to the engine and waits in its thread. Acks
early, no results, no time limits (the threads pool ignores them): leases rescue instead.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals

from inference.client import broker_options
from inference.contract import GenerationRequest, from_wire
from inference.streams.settings import broker_url
from inference.worker.runtime import Runtime

app = Celery("inference", broker=broker_url())
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_transport_options=broker_options(),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    timezone="UTC",
)

runtime: Runtime | None = None


@app.task(name="inference.generate", ignore_result=True)
def generate(request_wire: str) -> None:
    """Make one answer. Returns when its terminal entry is written."""
    if runtime is None:
        raise RuntimeError("the task ran outside a worker")
    runtime.run(from_wire(GenerationRequest, request_wire))


@signals.worker_init.connect
def _start(sender: Any, **_: Any) -> None:
    global runtime
    runtime = Runtime.from_env(worker=sender.hostname)
    runtime.start()


@signals.worker_shutting_down.connect
def _stop_early(**_: Any) -> None:
    """Tasks wait for the engine, and the pool waits for its tasks: end them first."""
    if runtime is not None:
        runtime.stop_soon()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    if runtime is not None:
        runtime.stop()


def default_queue() -> str:
    return f"model.{os.environ.get('CHATSITE_MODEL', 'smollm2-135m-instruct')}"
