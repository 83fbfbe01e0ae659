"""Whoever signs out, is deactivated or changes the password loses the sockets that are open."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest

from chatsite.accounts.models import User
from chatsite.announcer import send_to_person


@receiver(user_logged_out)
def end_session(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        send_to_person(user.pk, "session.ended", session=request.session.session_key)


@receiver(post_save, sender=User)
def end_all_sessions(instance: User, created: bool, **_: Any) -> None:
    if not created and not instance.is_active:
        transaction.on_commit(partial(send_to_person, instance.pk, "session.ended", session=None))
