"""The life of a request on the site's side: build, submit, checkpoint, store.

Used by chat and API alike. Each step is a conditional UPDATE, so that it may be tried twice, by
the task that was told, by the reaper, or by the page that watched.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chatsite.chat import notify as announce
from chatsite.chat.models import Message
from chatsite.errors import ChatError
from chatsite.generation import rows as metrics
from chatsite.generation.models import Generation
from chatsite.generation.transcript import Transcript
from inference import client
from inference.contract import ErrorCode, GenerationRequest, Result, Stamp

logger = logging.getLogger(__name__)


def submit(request: GenerationRequest) -> bool:
    """Put a stored request on its model's queue. Call after commit.

    False when Redis is away: the row stays PENDING, and the outbox sends it later. A refusal
    (queue full) ends the request as failed.
    """
    request_id = UUID(request.request_id)
    try:
        client.submit(request)
    except client.RedisUnavailable:
        logger.warning("request %s waits: Redis is away", request.request_id[:8])
        return False
    except client.ClientError as error:
        end_without_worker(request_id, "failed", code=error.code, text=str(error))
        return True
    Message.objects.filter(request_id=request_id, state=Message.State.PENDING).update(
        state=Message.State.QUEUED
    )
    metrics.mark_submitted(request_id, request.received, Stamp.now())
    generation = Generation.objects.filter(request_id=request_id).first()
    if generation is None or generation.is_terminal:  # stopped or deleted while it was sent
        with suppress(client.RedisUnavailable):
            client.cancel(request.request_id)
    return True


def end_without_worker(request_id: UUID, reason: str, *, code: str = "", text: str = "") -> bool:
    """End a request that no worker has, keeping what was written. False if it has ended already."""
    generation = Generation.objects.filter(request_id=request_id).first()
    if generation is None:
        return False
    message = Message.objects.filter(request_id=request_id).first()
    transcript = Transcript(message.text, list(message.token_ids)) if message else Transcript()
    result = Result(
        request_id=request_id.hex,
        attempt=generation.attempts_used,
        finish_reason=reason,  # type: ignore[arg-type]
        error_code=code,
        error_text=text,
        completion_tokens=len(transcript.token_ids),
    )
    transcript.result = result
    return _write(generation, transcript)


def store(request_id: UUID) -> bool:
    """Store a request whose terminal entry is in its stream: the truth about how it ended.

    True when it is stored now, by this call or an earlier one.
    """
    generation = Generation.objects.filter(request_id=request_id).first()
    if generation is None:  # deleted meanwhile: nothing to keep
        client.forget(request_id.hex)
        return True
    if not generation.is_terminal:
        transcript = read_transcript(request_id)
        if transcript is None or transcript.result is None:
            return False
        _write(generation, transcript)
    client.forget(request_id.hex)
    return True


def read_transcript(request_id: UUID) -> Transcript | None:
    """The answer as its stream tells it, on top of what a continued message already had."""
    events = client.read(request_id.hex)
    if not events:
        return None
    base_text, base_tokens = "", []
    generation = Generation.objects.filter(request_id=request_id).only("continued_tokens").first()
    if generation is not None and generation.continued_tokens:
        row = Message.objects.filter(request_id=request_id).values("text", "token_ids").first()
        if row is not None:
            base_tokens = row["token_ids"][: generation.continued_tokens]
            base_text = row["text"]  # the first delta's offset cuts what a checkpoint added
    return Transcript(base_text, list(base_tokens)).fold(events)


def checkpoint(request_id: UUID) -> bool:
    """Copy what is written so far into the database, so that a lost Redis costs seconds."""
    transcript = read_transcript(request_id)
    if transcript is None or transcript.result is not None or not transcript.attempts:
        return False
    saved = Message.objects.filter(request_id=request_id).exclude(state=Message.State.DONE)
    saved.update(text=transcript.text, token_ids=transcript.token_ids, state=Message.State.RUNNING)
    metrics.mark_running(request_id)
    return True


def _write(generation: Generation, transcript: Transcript) -> bool:
    """Text, state and figures in one transaction. False when the request had ended already."""
    result = transcript.result
    assert result is not None
    with transaction.atomic():
        if not metrics.close_generation(generation, result, transcript.timelines):
            return False
        message = (
            Message.objects.filter(request_id=generation.request_id)
            .exclude(state=Message.State.DONE)
            .select_related("conversation")
            .first()
        )
        if message is not None:
            message.text = transcript.text
            message.token_ids = transcript.token_ids
            message.state = Message.State.DONE
            message.finish_reason = result.finish_reason
            message.error_code = result.error_code or ""
            message.error_text = result.error_text[:300]
            message.save(
                update_fields=[
                    "text", "token_ids", "state", "finish_reason", "error_code", "error_text",
                ]
            )  # fmt: skip
            conversation = message.conversation
            conversation.updated_at = timezone.now()
            conversation.save(update_fields=["updated_at"])
            announce.conversation_changed(conversation.owner_id, conversation.id)
    return True


def cancel(request_id: UUID) -> None:
    """Stop a request wherever it is. Raises ChatError when Redis can't be told."""
    pending = Generation.objects.filter(
        request_id=request_id, state=Generation.State.PENDING
    ).exists()
    if pending and end_without_worker(request_id, "cancelled"):
        return
    try:
        client.cancel(request_id.hex)
    except client.RedisUnavailable as error:
        raise ChatError(
            ErrorCode.QUEUE_UNAVAILABLE,
            _("The queue can't be reached just now. Try again."),
            status=503,
        ) from error
