"""Makes, finds and revokes API keys. The only writer of ApiKey."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress

from django.db import OperationalError
from django.utils import timezone
from django.utils.translation import gettext as _

from chatsite.accounts.models import User
from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError
from chatsite.api.models import ApiKey
from chatsite.errors import ChatError, NotFound
from inference.contract import ErrorCode

PREFIX = "sk-chat-"
PREFIX_CHARS = len(PREFIX) + 6
MAX_KEYS = 50
USED_EVERY = dt.timedelta(minutes=1)
# As SQL, because every call asks it: to compose it anew each time takes three times as long.
FIND = (
    "SELECT k.*, o.is_active AS owner_is_active "
    f"FROM {ApiKey._meta.db_table} k JOIN {User._meta.db_table} o ON o.id = k.owner_id "
    "WHERE k.digest = %s"
)


def make_key(
    owner: User,
    *,
    name: str = "",
    model_slugs: Sequence[str] = (),
    is_read_only: bool = False,
    expires_at: dt.datetime | None = None,
    requests_per_minute: int | None = None,
    tokens_per_day: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is shown once and can't be had again. Raises ChatError."""
    if ApiKey.objects.filter(owner=owner, revoked_at=None).count() >= MAX_KEYS:
        text = _("You have %(most)d keys. Revoke one first.") % {"most": MAX_KEYS}
        raise ChatError(ErrorCode.TOO_MANY_KEYS, text)
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        owner=owner,
        name=" ".join(name.split())[:100] or _("key"),
        prefix=secret[:PREFIX_CHARS],
        digest=digest_of(secret),
        model_slugs=list(model_slugs),
        is_read_only=is_read_only,
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
        tokens_per_day=tokens_per_day,
    )
    return key, secret


def revoke_key(owner: User, key_id: int) -> None:
    """Make one's own key useless from the next request on. Raises NotFound for anybody else's."""
    found = ApiKey.objects.filter(owner=owner, pk=key_id)
    if not found.exists():
        raise NotFound()
    found.filter(revoked_at=None).update(revoked_at=timezone.now())


def digest_of(secret: str) -> str:
    """What the database keeps of a key: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def key_of(authorization: str) -> ApiKey:
    """The usable key of an Authorization header. Raises ApiError 401."""
    scheme, _space, secret = authorization.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise _refused(
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            code=None,
        )
    key = next(iter(ApiKey.objects.raw(FIND, [digest_of(secret)])), None)
    # FIND adds `owner_is_active` to the row, which no type can say of raw SQL.
    if key is None or key.revoked_at is not None or not key.owner_is_active:  # type: ignore[attr-defined]
        raise _refused(
            f"Incorrect API key provided: {_masked(secret)}.", code=ApiCode.INVALID_API_KEY
        )
    if key.is_expired:
        raise _refused("This API key has expired.", code=ApiCode.EXPIRED_API_KEY)
    note_use(key)
    return key


def note_use(key: ApiKey) -> None:
    """Write `last_used_at`, at most once a minute: it isn't worth a write per request."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - USED_EVERY:
        with suppress(OperationalError):  # a full disk: reading goes on
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def _refused(message: str, *, code: str | None) -> ApiError:
    return ApiError(401, message, code=code, headers={"WWW-Authenticate": "Bearer"})


def _masked(secret: str) -> str:
    return f"{secret[:6]}…{secret[-4:]}" if len(secret) >= 20 else "…"
