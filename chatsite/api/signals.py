"""Deleting a person stops what their keys have under way."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from chatsite.accounts.models import User
from chatsite.api.access.quotas import under_way
from chatsite.generation.submit import cancel_unwanted


@receiver(pre_delete, sender=User)
def stop_requests_of_deleted(instance: User, **_: Any) -> None:
    """Cancel on commit: a deletion that is rolled back stops nothing."""
    ids = [id_.hex for id_ in under_way(instance.pk).values_list("request_id", flat=True)]
    transaction.on_commit(partial(cancel_unwanted, ids))
