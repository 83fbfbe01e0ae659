"""What follows every write of a conversation or a message, whoever writes.

Titles and finished messages go into the search index, in the same transaction. Deleting an
unfinished answer, alone or with its conversation or its owner, stops it.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete
from django.dispatch import receiver

from chatsite.chat.models import Conversation, Message, messages_created
from chatsite.chat.search_index import index_message, index_new_messages, index_title
from chatsite.errors import ChatError
from chatsite.generation import token_trace
from chatsite.generation.submit import cancel

logger = logging.getLogger(__name__)


@receiver(post_save, sender=Conversation)
def index_saved_title(
    instance: Conversation, update_fields: frozenset[str] | None, raw: bool, **_: Any
) -> None:
    if not raw and (update_fields is None or "title" in update_fields):
        index_title(instance)


@receiver(post_save, sender=Message)
def index_saved_message(
    instance: Message, update_fields: frozenset[str] | None, raw: bool, **_: Any
) -> None:
    is_text = update_fields is None or "text" in update_fields
    if not raw and is_text and instance.state == Message.State.DONE:
        index_message(instance)


@receiver(messages_created, sender=Message)
def index_created_messages(messages: list[Message], **_: Any) -> None:
    index_new_messages([m for m in messages if m.text and m.state == Message.State.DONE])


@receiver(pre_delete, sender=Message)
def stop_deleted_answer(instance: Message, **_: Any) -> None:
    if instance.state != Message.State.DONE and instance.request_id is not None:
        transaction.on_commit(partial(stop_request, instance.request_id))


@receiver(post_delete, sender=Message)
def forget_token_trace(instance: Message, **_: Any) -> None:
    if instance.role == Message.Role.ASSISTANT:
        token_trace.forget([instance.pk])


def stop_request(request_id: UUID) -> None:
    """Stop the request of an answer that nobody will see; a failure is logged."""
    try:
        cancel(request_id)
    except ChatError as error:  # it ends at max_tokens, and is stored without a message
        logger.warning("could not stop deleted request %s: %s", request_id.hex[:8], error.code)
