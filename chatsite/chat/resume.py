"""Lets an answer that lost its worker go on by itself, as soon as a worker is back.

Who asked wants the answer until they do something else: write on, regenerate, edit, delete. So it
goes on while it is the last message of the branch that is shown, for half an hour, and not again
and again: a request that ends its workers is left to its "Continue" button.

RESUME_INTERRUPTED=0 turns this off.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from uuid import uuid4

from django.db.models import F
from django.utils import timezone

from chatsite.chat import actions
from chatsite.chat.models import Message
from chatsite.errors import ChatError
from chatsite.generation.models import Generation
from inference import client
from inference.contract import ErrorCode, FinishReason, WorkerState

logger = logging.getLogger(__name__)

LOST_BY = (
    ErrorCode.WORKER_LOST,
    ErrorCode.ENGINE_FAILED,
    ErrorCode.ENGINE_STOPPED,
    ErrorCode.QUEUE_LOST,
)
WANTED_FOR = dt.timedelta(minutes=30)
MAX_INTERRUPTIONS = 2
"""Of one answer; the next one ends it until somebody asks for more."""
MAX_AT_ONCE = 20


def resume_interrupted() -> int:
    """Continue what can go on now; returns how many answers. Raises client.RedisUnavailable."""
    waiting = list(_wanted())
    if not waiting:
        return 0
    served = {w.model for w in client.workers() if w.engine.state == WorkerState.READY}
    num_resumed = 0
    for message in waiting:
        if message.model_slug not in served or message.author is None:
            continue
        try:
            actions.continue_answer(message.author, request_id=uuid4(), message_id=message.pk)
        except ChatError as error:  # deleted, or the person is at their limit: the next look
            logger.info("answer %s is not resumed: %s", message.pk.hex[:8], error.code)
        else:
            num_resumed += 1
            logger.info("answer %s goes on by itself", message.pk.hex[:8])
    return num_resumed


def _wanted() -> Iterator[Message]:
    """The interrupted answers that nobody has gone past."""
    lost = Generation.objects.filter(
        received_at__gte=timezone.now() - WANTED_FOR,
        state=FinishReason.INTERRUPTED,
        error_code__in=LOST_BY,
        source="chat",
    ).values_list("request_id", flat=True)
    messages = Message.objects.filter(
        request_id__in=list(lost),
        state=Message.State.DONE,
        finish_reason=FinishReason.INTERRUPTED,
        conversation__active_leaf=F("pk"),
        conversation__deleted_at=None,
        author__is_active=True,
    ).select_related("author")
    for message in messages[:MAX_AT_ONCE]:
        tries = Generation.objects.filter(
            state=FinishReason.INTERRUPTED,
            received_at__gte=timezone.now() - 2 * WANTED_FOR,
            subject=message.pk,
        )
        if tries.count() <= MAX_INTERRUPTIONS:
            yield message
