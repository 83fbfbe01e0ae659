"""Deleting conversations as a state of the site, with a way back.

A deleted conversation is hidden everywhere at once (Conversation.objects leaves it out) and its
unfinished answers are stopped. For UNDO_MINUTES it can be restored, from any page and after any
reload; then `purge` removes it with all that belongs to it. What was deleted together is restored
together: a deletion is known by its moment.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.chat import notify
from chatsite.chat.models import Conversation, Message
from chatsite.chat.signals import stop_request

PURGED_TOGETHER = 20
PURGE_GRACE = dt.timedelta(minutes=1)
"""A restore that has just been allowed is not overtaken by the purge."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Conversations that were deleted together. `title` is one of theirs."""

    at: str
    count: int
    title: str


def delete(user: User, conversations: QuerySet[Conversation]) -> Deletion | None:
    """Delete these of `user`'s conversations; None when there is none of them left."""
    moment = timezone.now()
    with transaction.atomic():
        chosen = list(conversations.filter(owner=user).order_by().values_list("id", flat=True))
        present = Conversation.objects.filter(owner=user, id__in=chosen)
        if not present.update(deleted_at=moment):
            return None
        unfinished = Message.objects.filter(
            conversation__in=chosen, conversation__owner=user, request_id__isnull=False
        ).exclude(state=Message.State.DONE)
        for request_id in unfinished.values_list("request_id", flat=True):
            if request_id is not None:
                transaction.on_commit(partial(stop_request, request_id))
        _notify(user, chosen, deleted=True)
    return latest(user)


def restore(user: User, at: dt.datetime) -> list[UUID]:
    """Bring back what `user` deleted at that moment; empty when the time to undo it is over."""
    with transaction.atomic():
        deleted = _restorable(user).filter(deleted_at=at)
        restored = list(deleted.values_list("id", flat=True))
        deleted.update(deleted_at=None)
        _notify(user, restored, deleted=False)
    return restored


def latest(user: User) -> Deletion | None:
    """`user`'s last deletion that can still be undone."""
    last = _restorable(user).order_by("-deleted_at").only("deleted_at", "title").first()
    if last is None or last.deleted_at is None:
        return None
    together = _restorable(user).filter(deleted_at=last.deleted_at)
    return Deletion(last.deleted_at.isoformat(), together.count(), last.title)


def purge() -> int:
    """Remove for good what can't be restored any more; how many conversations that were."""
    number = 0
    old = Conversation.with_deleted.filter(deleted_at__lt=_undo_limit() - PURGE_GRACE)
    while ids := list(old.values_list("id", flat=True)[:PURGED_TOGETHER]):
        with transaction.atomic():
            Conversation.with_deleted.filter(id__in=ids, deleted_at__isnull=False).delete()
        number += len(ids)
    return number


def _restorable(user: User) -> QuerySet[Conversation]:
    return Conversation.with_deleted.filter(owner=user, deleted_at__gte=_undo_limit())


def _undo_limit() -> dt.datetime:
    return timezone.now() - dt.timedelta(minutes=settings.UNDO_MINUTES)


def _notify(user: User, conversations: list[UUID], *, deleted: bool) -> None:
    for conversation_id in conversations:
        notify.conversation_changed(user.id, conversation_id, deleted=deleted)
