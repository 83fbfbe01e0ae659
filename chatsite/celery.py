"""The light Celery app of the site: stores answers, looks for lost ones. Queue "web"."""

import os

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
for setup in (signals.after_setup_logger, signals.after_setup_task_logger):
    setup.connect(client.quiet_outages)
