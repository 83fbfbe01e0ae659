"""The light Celery app of the site: stores answers, looks for lost ones. Queue "web"."""

import logging
import os
from typing import Any

from celery import Celery, signals
from django.conf import settings

from inference import client

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
app = Celery("chatsite", broker=client.broker_url(settings.REDIS_URL))
app.conf.update(
    task_default_queue="web",
    task_ignore_result=True,
    broker_transport_options=client.broker_options(),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    timezone="UTC",
)
app.autodiscover_tasks()


@signals.worker_shutdown.connect
def _leave(sender: Any, **_: Any) -> None:
    """Every task has ended: leave at once. To take Django down with the interpreter costs a second
    on a busy machine, in which the supervisor waits.
    """
    logging.shutdown()
    os._exit(sender.exitcode or 0)


for setup in (signals.after_setup_logger, signals.after_setup_task_logger):
    setup.connect(client.quiet_outages)
