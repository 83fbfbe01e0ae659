"""Tells a person's open pages that something changed. Never carries tokens.

The channel layer may lose a message, or be away: pages also learn everything by asking again, so
a failure here is logged and forgotten.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)


def group_of(user_id: int) -> str:
    return f"user.{user_id}"


def announce(user_id: int, kind: str, **content: Any) -> None:
    """Send to every socket of that person, on commit. `kind` is the consumer's method name."""
    transaction.on_commit(partial(_send, group_of(user_id), {"type": kind, **content}))


def conversation_changed(user_id: int, conversation_id: UUID, *, deleted: bool = False) -> None:
    announce(user_id, "conversation.changed", conversation=str(conversation_id), deleted=deleted)


def messages_accepted(user_id: int, conversation_id: UUID, message_ids: list[UUID]) -> None:
    announce(
        user_id,
        "messages.accepted",
        conversation=str(conversation_id),
        messages=[str(m) for m in message_ids],
    )


def _send(group: str, message: dict[str, Any]) -> None:
    try:
        async_to_sync(get_channel_layer().group_send)(group, message)
    except Exception as error:  # whatever a broken connection raises: the pages ask again
        logger.warning("could not announce %s: %s", message["type"], type(error).__name__)
