"""The Celery app of the transformer side and its one task.

    celery -A inference.worker worker --pool=threads --without-gossip --without-mingle

A task hands its request to the engine and waits in its thread. Acks early, no results, no time
limits (the threads pool ignores them): leases rescue instead.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from inference.queue import broker
from inference.queue.connection import broker_url
from inference.worker import control
from inference.worker import lifecycle as life
from inference.worker.celery_consumer import IDLE_QUEUE, KeepMembership
from inference.worker.worker_config import SPARE_TASKS, WorkerSettings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

app = Celery("inference", broker=broker_url())
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue=IDLE_QUEUE,
    worker_pool="threads",
    worker_concurrency=WorkerSettings.from_env().max_running + SPARE_TASKS,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # what waits, waits in the queue, where others can take it
    worker_enable_prefetch_count_reduction=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_consumer="inference.worker.celery_consumer:PatientConsumer",
    worker_log_format=LOG_FORMAT,
    worker_task_log_format=LOG_FORMAT,
    worker_redirect_stdouts=False,
    broker_transport_options=broker.broker_options(),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    timezone="UTC",
)
app.steps["consumer"].add(KeepMembership)


@app.task(name=broker.GENERATE, ignore_result=True)  # type: ignore[untyped-decorator]
def generate(request_id: str, attempt: int, *_later: Any) -> None:
    """Make one answer. Returns when its terminal entry is written or it is given back."""
    if life.slot is None:
        raise RuntimeError("the task ran outside a worker")
    life.slot.run(request_id, attempt)


__all__ = ["app", "control", "generate"]
