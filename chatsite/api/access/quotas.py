"""Limits per key (requests a minute, tokens a day) and per owner (requests under way).

Use is counted from the same rows of Generation that the dashboards show.
"""

from __future__ import annotations

import datetime as dt
import math

from django.conf import settings
from django.db import connection
from django.db.models import F, IntegerField, Q, QuerySet, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import RATE_LIMIT, ApiError
from chatsite.api.models import ApiKey
from chatsite.generation.models import Generation
from chatsite.generation.rows import UNFINISHED

MINUTE = dt.timedelta(minutes=1)
SOON_S = 2.0  # of Retry-After while requests run


def check_unfinished(key: ApiKey, *, requests: int, param: str = "n") -> None:
    """Raises ApiError 429 when the owner's keys together have too many unfinished requests.

    400 for a call that alone is more than is ever allowed. Call inside the transaction that stores
    the requests.
    """
    limit = settings.API_MAX_UNFINISHED
    if requests > limit:
        raise _too_many(param, requests, f"{limit} may be under way at once")
    if connection.features.has_select_for_update:  # else the transaction is the only one
        User.objects.select_for_update().only("pk").get(pk=key.owner_id)
    if under_way(key.owner_id).count() + requests > limit:
        raise _over(f"Your keys may have {limit} requests under way at once.", wait_s=SOON_S)


def under_way(owner_id: int) -> QuerySet[Generation]:
    """An owner's unfinished API requests.

    The sum keeps SQLite from using the index on users, by which it would read all requests that
    this user ever made instead of the few unfinished ones.
    """
    unfinished = Generation.objects.alias(owner=F("user_id") + 0)
    return unfinished.filter(owner=owner_id, source="api", state__in=UNFINISHED)


def check_quota(key: ApiKey, *, requests: int, param: str = "n") -> dict[str, str]:
    """Headers with what is left. Raises ApiError 429 with Retry-After.

    400, naming `param`, for more at once than a minute ever allows. Call inside the transaction
    that stores the requests, so that of two concurrent calls only one takes the last place.
    """
    headers: dict[str, str] = {}
    if key.requests_per_minute is None and key.tokens_per_day is None:
        return headers
    ApiKey.objects.select_for_update().get(pk=key.pk)
    now = timezone.now()
    if (limit := key.requests_per_minute) is not None:
        left = limit - _requests_since(key, now - MINUTE)
        if requests > limit:
            raise _too_many(param, requests, f"this key may make {limit} requests a minute")
        if requests > left:
            raise _over(
                f"Rate limit reached: {limit} requests per minute.",
                wait_s=_until_free(key, now, requests - left),
            )
        headers["x-ratelimit-limit-requests"] = str(limit)
        headers["x-ratelimit-remaining-requests"] = str(left - requests)
    if (limit := key.tokens_per_day) is not None:
        midnight = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        used, reserved = _tokens_since(key, midnight)
        left = limit - used - reserved
        if used >= limit:
            wait_s = (midnight + dt.timedelta(days=1) - now).total_seconds()
            raise _over(f"Quota reached: {limit} tokens per day.", wait_s=wait_s)
        if left <= 0:
            text = f"What is under way may use up this key's {limit} tokens per day."
            raise _over(text, wait_s=SOON_S)
        headers["x-ratelimit-limit-tokens"] = str(limit)
        headers["x-ratelimit-remaining-tokens"] = str(left)
    return headers


def _requests_since(key: ApiKey, moment: dt.datetime) -> int:
    return Generation.objects.filter(api_key=key.prefix, received_at__gt=moment).count()


def _until_free(key: ApiKey, now: dt.datetime, needed: int) -> float:
    """Seconds until `needed` requests have left the window."""
    times = (
        Generation.objects.filter(api_key=key.prefix, received_at__gt=now - MINUTE)
        .order_by("received_at")
        .values_list("received_at", flat=True)[needed - 1 : needed]
    )
    return max(((at + MINUTE - now).total_seconds() for at in times), default=60.0)


def _tokens_since(key: ApiKey, moment: dt.datetime) -> tuple[int, int]:
    """Tokens of ended requests since then, and the most that unfinished ones may still use."""
    rows = Generation.objects.filter(api_key=key.prefix, received_at__gte=moment)
    prompt = Coalesce(F("prompt_tokens"), 0)
    most = Coalesce(Cast(KT("sampling__max_tokens"), IntegerField()), 0)
    is_under_way = Q(state__in=UNFINISHED)
    sums = rows.aggregate(
        used=Sum(prompt + Coalesce(F("completion_tokens"), 0), filter=~is_under_way),
        reserved=Sum(prompt + most, filter=is_under_way, output_field=IntegerField()),
    )
    return sums["used"] or 0, sums["reserved"] or 0


def _too_many(param: str, requests: int, rule: str) -> ApiError:
    text = f"Invalid '{param}': {rule}, and each choice is one. {requests} can never be served."
    code = ApiCode.ARRAY_ABOVE_MAX if param == "prompt" else ApiCode.INTEGER_ABOVE_MAX
    return ApiError(400, text, param=param, code=code)


def _over(message: str, *, wait_s: float) -> ApiError:
    return ApiError(
        429,
        message,
        kind=RATE_LIMIT,
        code=ApiCode.RATE_LIMIT_EXCEEDED,
        headers={"Retry-After": str(max(1, math.ceil(wait_s)))},
    )
