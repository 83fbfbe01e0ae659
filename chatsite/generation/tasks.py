"""Background work for requests, on the light "web" worker.

`store_result` is sent by the worker whose request has ended. Everything else is `reconcile`, once a
second: whatever a lost message, a dead worker or an absent Redis left undone is done here.
`roll_up` adds up requests for the boards once a minute.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from celery import Celery, shared_task
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from chatsite.celery import app
from chatsite.generation.checkpoints import Checkpoints
from chatsite.generation.models import Generation
from chatsite.generation.rows import UNFINISHED, mark_running
from chatsite.generation.stats import roll_up as roll_ups
from chatsite.generation.store import end_unreadable, end_without_worker, store
from chatsite.generation.submit import pending_requests, submit_or_wait
from inference import client
from inference.contract import ErrorCode, FinishReason, RequestState

logger = logging.getLogger(__name__)

RECONCILE_LOCK_S = 5
"""A light worker that dies while it reconciles keeps the next one out for so long."""
UNKNOWN_AFTER = dt.timedelta(seconds=15)
"""A request of that age that Redis doesn't know has been lost, and isn't just being submitted."""

ROLL_UP_EVERY_S = 60
ROLL_UP_LOCK_S = 600
"""The first run over a million requests takes longer than a minute on a busy machine."""

checkpoints = Checkpoints()


@shared_task(name="chatsite.generation.store_result")
def store_result(request_id: str, attempt: int = 0) -> None:
    """Store a request whose terminal entry is in its stream."""
    store(UUID(request_id))


@shared_task(name="chatsite.generation.reconcile", expires=10)
def reconcile() -> None:
    """Bring the database and the queue into agreement. Every move is conditional."""
    try:
        with client.one_at_a_time("reconcile", seconds=RECONCILE_LOCK_S) as is_mine:
            if is_mine:
                store_finished()
                look = client.look()
                recover(look.lost)
                store_finished()  # what that ended: the next look would be a second later
                send_pending()
                note_running(look.live)
                end_unknown()
    except client.RedisUnavailable as error:
        logger.warning("%s; looking again in %g s", error, client.LOOK_EVERY_S)
    except (OperationalError, InterfaceError) as error:
        logger.warning("the database can't be used (%s); looking again", error)


@shared_task(name="chatsite.generation.roll_up", expires=ROLL_UP_EVERY_S)
def roll_up() -> None:
    """Add up the requests of the newest minutes, and of those that have changed."""
    try:
        with client.one_at_a_time("roll-up", seconds=ROLL_UP_LOCK_S) as is_mine:
            if is_mine:
                roll_ups.roll_up()
    except client.RedisUnavailable:
        logger.warning("Redis is away; rolling up again in %g s", ROLL_UP_EVERY_S)


def store_finished() -> None:
    """Store the requests that have ended and whose store_result was lost or is late."""
    for request_id in client.unstored_results():
        with _logging_failure_of(request_id):
            if not store(UUID(request_id)):
                end_unreadable(UUID(request_id))


def recover(lost: Iterable[str]) -> None:
    """Let requests whose worker is gone go on from their last token, or end them as interrupted."""
    for request_id in lost:
        with _logging_failure_of(request_id):
            checkpoints.save(UUID(request_id))
            if not client.resubmit(request_id):
                client.interrupt(request_id)
                store(UUID(request_id))


def send_pending() -> None:
    """Submit what was accepted while the queue was away."""
    for request in pending_requests():
        with _logging_failure_of(request.request_id):
            submit_or_wait(request)


def note_running(live: Iterable[client.LiveRequest]) -> None:
    """Note which requests run, and save a checkpoint of their answers every few seconds."""
    running = [UUID(one.request_id) for one in live if one.state == RequestState.RUNNING]
    mark_running(running)
    checkpoints.save_running(running)


def end_unknown() -> None:
    """Requests that Redis knows nothing of any more end as interrupted, their text kept."""
    old = Generation.objects.filter(
        state__in=UNFINISHED, received_at__lt=timezone.now() - UNKNOWN_AFTER
    ).exclude(state=Generation.State.PENDING, accepted_request__gt="")  # send_pending's
    for request_id in old.values_list("request_id", flat=True):
        if not client.is_known(request_id.hex):
            end_without_worker(
                request_id,
                FinishReason.INTERRUPTED,
                code=ErrorCode.QUEUE_LOST,
                text=ErrorCode.QUEUE_LOST.sentence,
            )


@contextmanager
def _logging_failure_of(request_id: str) -> Iterator[None]:
    """Log one request's failure and leave the others alone; without Redis or database all ends."""
    try:
        yield
    except (client.RedisUnavailable, OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("request %s", request_id[:8])


@app.on_after_finalize.connect
def _schedule(sender: Celery, **_kwargs: Any) -> None:
    sender.add_periodic_task(client.LOOK_EVERY_S, reconcile.s(), name="reconcile requests")
    sender.add_periodic_task(ROLL_UP_EVERY_S, roll_up.s(), name="roll up requests")
