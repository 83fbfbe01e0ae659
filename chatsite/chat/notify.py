"""Tells a person's open pages, on commit, that something changed. Never carries tokens."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import transaction

from chatsite.notifier import group_of, send_to_person

__all__ = ["conversation_changed", "group_of", "messages_accepted"]


def conversation_changed(user_id: int, conversation_id: UUID, *, deleted: bool = False) -> None:
    transaction.on_commit(
        partial(
            send_to_person,
            user_id,
            "conversation.changed",
            conversation=str(conversation_id),
            deleted=deleted,
        )
    )


def messages_accepted(
    user_id: int, conversation_id: UUID, message_ids: list[UUID], *, but_not: str
) -> None:
    """`but_not` is the channel of the socket that asked: it is answered directly."""
    transaction.on_commit(
        partial(
            send_to_person,
            user_id,
            "messages.accepted",
            conversation=str(conversation_id),
            messages=[str(m) for m in message_ids],
            but_not=but_not,
        )
    )
