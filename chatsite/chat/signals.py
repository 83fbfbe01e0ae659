"""Deleting an unfinished answer, alone or with its conversation or its owner, stops it."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from chatsite.chat.models import Message
from chatsite.errors import ChatError
from chatsite.generation.submit import cancel

logger = logging.getLogger(__name__)


@receiver(pre_delete, sender=Message)
def stop_deleted_answer(instance: Message, **_: Any) -> None:
    if instance.state != Message.State.DONE and instance.request_id is not None:
        transaction.on_commit(partial(_cancel, instance.request_id))


def _cancel(request_id: UUID) -> None:
    try:
        cancel(request_id)
    except ChatError as error:  # it ends at max_tokens, and is stored without a message
        logger.warning("could not stop deleted request %s: %s", request_id.hex[:8], error.code)
