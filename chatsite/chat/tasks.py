"""Background work of the chat, on the light "web" worker.

`store_reply` is told of each answer that ended. Everything else is `look_after`, once a
second: whatever a lost message, a dead worker or an absent Redis left undone is done here.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from chatsite.celery import app
from chatsite.chat import actions
from chatsite.chat.models import Message
from chatsite.errors import ChatError
from chatsite.generation import request_life as requests
from chatsite.generation.models import Generation
from chatsite.generation.rows import UNFINISHED, mark_running
from inference import client

logger = logging.getLogger(__name__)

OUTBOX_AFTER = dt.timedelta(seconds=2)
LOOK_AFTER_LOCK_S = 5
"""So long a light worker that dies in mid-look holds up the next. Every move is conditional."""
FORGOTTEN_AFTER = dt.timedelta(seconds=15)


@shared_task(name="chatsite.chat.store_reply")
def store_reply(request_id: str, attempt: int = 0) -> None:
    """Store an answer whose terminal entry is in its stream."""
    requests.store(UUID(request_id))


@shared_task(name="chatsite.chat.look_after", expires=10)
def look_after() -> None:
    """Store what ended unheard, rescue what lost its worker, send what waits, checkpoint."""
    try:
        with client.one_at_a_time("look_after", seconds=LOOK_AFTER_LOCK_S) as mine:
            if mine:
                store_unheard()
                rescue_lost()
                store_unheard()  # what that ended: a look later is a second of the ten promised
                send_pending()
                checkpoint_running()
                end_forgotten()
    except client.RedisUnavailable:
        logger.warning("Redis is away; looking again in %g s", client.LOOK_EVERY_S)


def store_unheard() -> None:
    for request_id in client.unstored_results():
        with _alone(request_id):
            requests.store(UUID(request_id))


def rescue_lost() -> None:
    """Requests whose worker is gone go on from their last token, or end as interrupted."""
    for request_id in client.lost_requests():
        with _alone(request_id):
            requests.checkpoint(UUID(request_id))
            if not client.resubmit(request_id):
                client.interrupt(request_id)
                requests.store(UUID(request_id))


def send_pending() -> None:
    """The outbox: answers that were stored while the queue was away."""
    waiting = Message.objects.filter(
        state=Message.State.PENDING, created_at__lt=timezone.now() - OUTBOX_AFTER
    ).select_related("conversation", "parent")
    for answer in waiting[:100]:
        with _alone(answer.request_id.hex):
            try:
                actions.resubmit_pending(answer)
            except (ChatError, client.ClientError) as error:
                requests.end_without_worker(
                    answer.request_id, "failed", code=error.code, text=str(error)
                )


def checkpoint_running() -> None:
    """Note what runs, of chat and API, and copy what chat answers have so far."""
    for live in client.live_requests():
        if live.state == "running":
            mark_running(UUID(live.request_id))
    unfinished = Message.objects.filter(state__in=(Message.State.QUEUED, Message.State.RUNNING))
    for request_id in unfinished.values_list("request_id", flat=True):
        with _alone(request_id.hex):
            requests.checkpoint(request_id)


def end_forgotten() -> None:
    """Requests that Redis knows nothing of any more end as interrupted, their text kept."""
    old = Generation.objects.filter(
        state__in=UNFINISHED, received_at__lt=timezone.now() - FORGOTTEN_AFTER
    ).exclude(state=Generation.State.PENDING, source=Generation.Source.CHAT)  # the outbox's
    for request_id in old.values_list("request_id", flat=True):
        if not client.is_known(request_id.hex):
            requests.end_without_worker(
                request_id,
                "interrupted",
                code="queue_lost",
                text="The queue knows nothing of this request any more.",
            )


@contextmanager
def _alone(request_id: str) -> Iterator[None]:
    """One request's trouble is logged and doesn't keep the others waiting; an absent Redis does."""
    try:
        yield
    except client.RedisUnavailable:
        raise
    except Exception:
        logger.exception("request %s", request_id[:8])


@app.on_after_finalize.connect
def _schedule(sender, **_kwargs) -> None:
    sender.add_periodic_task(client.LOOK_EVERY_S, look_after.s(), name="look after requests")
