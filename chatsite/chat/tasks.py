"""The chat's background work, on the light "web" worker."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, shared_task
from django.conf import settings
from django.db import InterfaceError, OperationalError

from chatsite.celery import app
from chatsite.chat import deletion
from chatsite.chat.resume import resume_interrupted
from inference import client

logger = logging.getLogger(__name__)

RESUME_EVERY_S = 2.0
RESUME_LOCK_S = 10
PURGE_EVERY_S = 60.0


@shared_task(name="chatsite.chat.resume", expires=10)
def resume() -> None:
    """Let interrupted answers go on."""
    try:
        with client.one_at_a_time("resume", seconds=RESUME_LOCK_S) as is_mine:
            if is_mine:
                resume_interrupted()
    except (client.RedisUnavailable, OperationalError, InterfaceError) as error:
        logger.warning("interrupted answers wait: %s", error)


@shared_task(name="chatsite.chat.purge_deleted", expires=PURGE_EVERY_S)
def purge_deleted() -> None:
    """Remove deleted conversations whose time to undo is over."""
    if number := deletion.purge():
        logger.info("%d deleted conversations purged", number)


@app.on_after_finalize.connect
def _schedule(sender: Celery, **_kwargs: Any) -> None:
    if settings.RESUME_INTERRUPTED:
        sender.add_periodic_task(RESUME_EVERY_S, resume.s(), name="resume interrupted answers")
    sender.add_periodic_task(PURGE_EVERY_S, purge_deleted.s(), name="purge deleted conversations")
