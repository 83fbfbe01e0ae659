"""From an accepted request to the queue, and out of it again.

A request is accepted when its row is stored (rows.open_generation). Submitting comes after that
transaction; what could not be submitted stays pending and is sent by the periodic task, exactly as
it was accepted.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from uuid import UUID

from django.utils import timezone

from chatsite.errors import ChatError
from chatsite.generation.answers import answers_of
from chatsite.generation.models import Generation
from chatsite.generation.rows import mark_submitted
from chatsite.generation.store import end_without_worker
from inference import client
from inference.contract import (
    ErrorCode,
    FinishReason,
    GenerationRequest,
    Stamp,
    from_wire,
)

logger = logging.getLogger(__name__)

PENDING_FOR = dt.timedelta(seconds=2)
"""A row younger than this is still being submitted by the process that accepted it."""
MAX_PENDING_SENT = 100


def submit(request: GenerationRequest, *, waits: bool = False) -> Stamp:
    """Put an accepted request in its model's queue; returns when that was.

    Raises client.ClientError. The request has ended as failed then, except that with `waits` it
    stays pending while the queue can't be reached. Call note_submitted afterwards.
    """
    try:
        client.submit(request)
    except client.RedisUnavailable as error:
        if waits:
            logger.warning("request %s waits: Redis is away", request.request_id[:8])
        else:
            _end_unsent(request, error)
        raise
    except client.ClientError as error:
        _end_unsent(request, error)
        raise
    return Stamp.now()


def note_submitted(request: GenerationRequest, submitted: Stamp) -> None:
    """Store when a request was put in the queue; end it if it was stopped or deleted meanwhile."""
    request_id = UUID(request.request_id)
    answers_of(request.source).submitted(request_id)
    mark_submitted(request_id, request.received, submitted)
    generation = Generation.objects.filter(request_id=request_id).only("state").first()
    if generation is None or generation.is_terminal:
        with suppress(client.RedisUnavailable):
            client.cancel(request.request_id)


def submit_or_wait(request: GenerationRequest) -> None:
    """Submit, or leave the request pending while the queue is away. Never raises ClientError."""
    with suppress(client.ClientError):
        note_submitted(request, submit(request, waits=True))


def pending_requests() -> Iterator[GenerationRequest]:
    """The requests that were accepted while the queue was away, as they were accepted."""
    rows = Generation.objects.filter(
        state=Generation.State.PENDING,
        accepted_request__gt="",
        received_at__lt=timezone.now() - PENDING_FOR,
    ).order_by("received_at")
    for wire in rows.values_list("accepted_request", flat=True)[:MAX_PENDING_SENT]:
        yield from_wire(GenerationRequest, wire)


def cancel(request_id: UUID) -> None:
    """Stop a request wherever it is. Raises ChatError when the queue can't be reached."""
    pending = Generation.objects.filter(
        request_id=request_id, state=Generation.State.PENDING
    ).exists()
    if pending and end_without_worker(request_id, FinishReason.CANCELLED):
        return
    try:
        client.cancel(request_id.hex)
    except client.RedisUnavailable as error:
        raise ChatError(ErrorCode.QUEUE_UNAVAILABLE) from error


def cancel_unwanted(request_ids: Iterable[str]) -> None:
    """Cancel requests that nobody waits for any more, whether or not the database answers.

    A failure is logged: such a request ends at its max_tokens.
    """
    for request_id in request_ids:
        try:
            client.cancel(request_id)
        except client.RedisUnavailable:
            logger.warning("could not stop %s: the queue is away", request_id[:8])
        except Exception:
            logger.exception("could not stop %s", request_id[:8])


def _end_unsent(request: GenerationRequest, error: client.ClientError) -> None:
    end_without_worker(
        UUID(request.request_id), FinishReason.FAILED, code=error.code, text=str(error)
    )
