"""How much a key may use. What was used is read from the records that people see."""

from __future__ import annotations

import datetime as dt
import math

from django.db.models import F, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from chatsite.api.errors import RATE_LIMIT, ApiError
from chatsite.api.models import ApiKey
from chatsite.metrics.models import Generation

MINUTE = dt.timedelta(minutes=1)


def check_quota(key: ApiKey, *, requests: int) -> dict[str, str]:
    """Headers that say what is left. Raises ApiError 429 with Retry-After.

    Call inside the transaction that stores the requests: two at once can't both be the last.
    """
    headers: dict[str, str] = {}
    if key.requests_per_minute is None and key.tokens_per_day is None:
        return headers
    ApiKey.objects.select_for_update().get(pk=key.pk)
    now = timezone.now()
    if (limit := key.requests_per_minute) is not None:
        left = limit - _requests_since(key, now - MINUTE)
        if requests > limit:
            raise _over(
                f"This key may make {limit} requests a minute, and each choice is one: "
                f"{requests} can't be asked for at once.",
                wait_s=60,
            )
        if requests > left:
            raise _over(
                f"Rate limit reached: {limit} requests per minute.",
                wait_s=_until_free(key, now, requests - left),
            )
        headers["x-ratelimit-limit-requests"] = str(limit)
        headers["x-ratelimit-remaining-requests"] = str(left - requests)
    if (limit := key.tokens_per_day) is not None:
        midnight = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        left = limit - _tokens_since(key, midnight)
        if left <= 0:
            wait_s = (midnight + dt.timedelta(days=1) - now).total_seconds()
            raise _over(f"Quota reached: {limit} tokens per day.", wait_s=wait_s)
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


def _tokens_since(key: ApiKey, moment: dt.datetime) -> int:
    rows = Generation.objects.filter(api_key=key.prefix, received_at__gte=moment)
    both = Coalesce(F("prompt_tokens"), 0) + Coalesce(F("completion_tokens"), 0)
    return rows.aggregate(used=Sum(both))["used"] or 0


def _over(message: str, *, wait_s: float) -> ApiError:
    return ApiError(
        429,
        message,
        kind=RATE_LIMIT,
        code="rate_limit_exceeded",
        headers={"Retry-After": str(max(1, math.ceil(wait_s)))},
    )
