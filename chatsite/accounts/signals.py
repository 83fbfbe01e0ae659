"""Whoever signs out, is deactivated or changes the password loses the sockets that are open."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest

from chatsite.accounts.models import User

logger = logging.getLogger(__name__)


@receiver(user_logged_out)
def end_session(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        _announce(user.pk, request.session.session_key)


@receiver(post_save, sender=User)
def end_all_sessions(instance: User, created: bool, **_: Any) -> None:
    if not created and not instance.is_active:
        transaction.on_commit(lambda: _announce(instance.pk, None))


def _announce(user_id: int, session: str | None) -> None:
    """Close the sockets of one session, or of all. Sockets also ask for themselves now and then."""
    message = {"type": "session.ended", "session": session}
    try:
        async_to_sync(get_channel_layer().group_send)(f"user.{user_id}", message)
    except Exception as error:
        logger.warning("could not announce a sign-out: %s", type(error).__name__)
