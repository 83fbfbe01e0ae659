"""Deleting a person stops what their keys have under way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from chatsite.accounts.models import User
from chatsite.api.quotas import under_way
from inference import client

logger = logging.getLogger(__name__)


@receiver(pre_delete, sender=User)
def stop_requests_of_deleted(instance: User, **_: Any) -> None:
    ids = list(under_way(instance.pk).values_list("request_id", flat=True))
    transaction.on_commit(partial(_cancel, ids))


def _cancel(request_ids: Sequence[UUID]) -> None:
    for request_id in request_ids:
        try:
            client.cancel(request_id.hex)
        except client.RedisUnavailable:  # they end at max_tokens
            logger.warning("could not stop %s: the queue is away", request_id.hex[:8])
