"""The Celery app of the transformer side and its one task.

    celery -A inference.worker worker --pool=threads --without-gossip --without-mingle

A task is a wake-up: it runs the best waiting requests of a model in its thread until none is left.
Acks early, no results, no time limits (the threads pool ignores them): leases do their work.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

from inference.contract import Source
from inference.queue import broker, outage_log
from inference.queue.connection import broker_url
from inference.worker import control, lifecycle
from inference.worker.celery_consumer import IDLE_QUEUE, KeepMembership
from inference.worker.worker_config import SPARE_TASKS, WorkerSettings

POLL_S = 0.25  # a blocking read of the queues, and so how long a queue that is joined may wait
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
    broker_transport_options={**broker.broker_options(), "polling_interval": POLL_S},
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    timezone="UTC",
)
app.steps["consumer"].add(KeepMembership)
for setup in (signals.after_setup_logger, signals.after_setup_task_logger):
    setup.connect(outage_log.install)


@app.task(name=broker.GENERATE, bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def generate(self: Any, model: str, source: Source) -> None:
    """Run waiting requests of the model. Returns when this worker may take none any more."""
    if lifecycle.runtime is None:
        raise RuntimeError("the task ran outside a worker")
    lifecycle.runtime.serve(model, source, task_id=self.request.id)


__all__ = ["app", "control", "generate"]
