"""The chat's answers, kept in its messages (see chatsite.generation.answers)."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone

from chatsite.chat import notify
from chatsite.chat.models import Message
from chatsite.generation.transcript import Transcript


class MessageAnswers:
    """An answer is the message that names its request. A deleted one is kept nowhere."""

    def written(self, request_id: UUID) -> tuple[str, list[int]] | None:
        row = Message.objects.filter(request_id=request_id).values_list("text", "token_ids").first()
        return None if row is None else (row[0], list(row[1]))

    def submitted(self, request_id: UUID) -> None:
        Message.objects.filter(request_id=request_id, state=Message.State.PENDING).update(
            state=Message.State.QUEUED
        )

    def checkpoint(self, request_id: UUID, transcript: Transcript) -> None:
        unfinished = Message.objects.filter(request_id=request_id).exclude(state=Message.State.DONE)
        unfinished.update(
            text=transcript.text,
            token_ids=transcript.token_ids,
            num_tokens=len(transcript.token_ids),
            state=Message.State.RUNNING,
        )

    def finished(self, request_id: UUID, transcript: Transcript) -> None:
        result = transcript.result
        assert result is not None
        message = (
            Message.objects.filter(request_id=request_id)
            .exclude(state=Message.State.DONE)
            .select_related("conversation")
            .first()
        )
        if message is None:
            return
        message.text = transcript.text
        message.set_tokens(transcript.token_ids)
        message.state = Message.State.DONE
        message.finish_reason = result.finish_reason
        message.error_code = result.error_code or ""
        message.save(
            update_fields=[
                "text", "token_ids", "num_tokens", "state", "finish_reason", "error_code",
            ]
        )  # fmt: skip
        conversation = message.conversation
        conversation.updated_at = timezone.now()
        conversation.save(update_fields=["updated_at"])
        notify.conversation_changed(conversation.owner_id, conversation.id)
