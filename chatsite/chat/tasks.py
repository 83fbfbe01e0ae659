"""Background work for conversations, on the light "web" worker."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, shared_task

from chatsite.celery import app
from chatsite.chat import deletion

logger = logging.getLogger(__name__)

PURGE_EVERY_S = 60.0


@shared_task(name="chatsite.chat.purge_deleted", expires=PURGE_EVERY_S)
def purge_deleted() -> None:
    """Remove deleted conversations whose time to undo is over."""
    if number := deletion.purge():
        logger.info("%d deleted conversations purged", number)


@app.on_after_finalize.connect
def _schedule(sender: Celery, **_kwargs: Any) -> None:
    sender.add_periodic_task(PURGE_EVERY_S, purge_deleted.s(), name="purge deleted conversations")
