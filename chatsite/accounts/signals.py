"""Closes sockets on sign-out, deactivation, deletion and a new password."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest

from chatsite.accounts.models import User
from chatsite.notifier import send_to_person


@receiver(user_logged_out)
def end_session(request: HttpRequest, user: User | None, **_: Any) -> None:
    """Close the sockets of the session that was signed out."""
    if user is not None:
        send_to_person(user.pk, "session.ended", session=request.session.session_key)


@receiver(post_save, sender=User)
def end_all_sessions(instance: User, created: bool, **_: Any) -> None:
    """Close a person's sockets after a new password or a deactivation."""
    # Django keeps the new password's text on the instance until it is saved and announced.
    has_new_password = getattr(instance, "_password", None) is not None
    if not created and (has_new_password or not instance.is_active):
        _close_sockets(instance.pk)


@receiver(post_delete, sender=User)
def end_sessions_of_deleted(instance: User, **_: Any) -> None:
    """Close a deleted person's sockets."""
    _close_sockets(instance.pk)


def _close_sockets(user_id: int) -> None:
    """Close all of a person's sockets. A page whose session is still valid reconnects by itself."""
    transaction.on_commit(partial(send_to_person, user_id, "session.ended", session=None))
