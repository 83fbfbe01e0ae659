"""Makes and redeems one-time links. The secret is shown once; the database keeps its hash."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from chatsite.accounts.models import Invitation, User


def invite(
    *, by: User | None = None, note: str = "", makes_administrator: bool = False
) -> tuple[Invitation, str]:
    """An invitation and its secret."""
    secret = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        secret_hash=hash_of(secret),
        note=note,
        makes_administrator=makes_administrator,
        created_by=by,
        expires_at=timezone.now() + dt.timedelta(hours=settings.INVITATION_HOURS),
    )
    return invitation, secret


def link_of(secret: str, site_url: str) -> str:
    """The link to give away. `site_url` is where people find the site."""
    return site_url.rstrip("/") + reverse("accounts:invitation", args=[secret])


def first_administrator_link(site_url: str) -> str | None:
    """A fresh link while there is no administrator; earlier such links stop working."""
    if User.objects.filter(is_superuser=True, is_active=True).exists():
        return None
    Invitation.objects.open().filter(makes_administrator=True, created_by=None).delete()
    _, secret = invite(note="first administrator", makes_administrator=True)
    return link_of(secret, site_url)


def find_open(secret: str) -> Invitation | None:
    """The invitation of that secret while it can be used; else None."""
    return Invitation.objects.open().filter(secret_hash=hash_of(secret)).first()


def redeem(secret: str, user: User) -> bool:
    """Use the invitation for a new, unsaved account and save it. False when it is no longer good.

    A link used twice at once makes one account: the UPDATE decides.
    """
    with transaction.atomic():
        invitation = find_open(secret)
        if invitation is None:
            return False
        if not Invitation.objects.open().filter(pk=invitation.pk).update(used_at=timezone.now()):
            return False
        if invitation.makes_administrator:
            user.is_staff = user.is_superuser = True
        user.save()
        Invitation.objects.filter(pk=invitation.pk).update(used_by=user)
    return True


def hash_of(secret: str) -> str:
    """What the database keeps of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()
