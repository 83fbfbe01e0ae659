"""Makes each page speak the times of its reader's zone.

The browser names its zone in a cookie (static/js/zone.js, on every page); it is active while the
request is answered, so that times in templates, date filters and "today" agree with the reader's
clock. Without the cookie, or with one that names no zone, times are UTC.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import cast
from urllib.parse import unquote

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware

COOKIE = "zone"
MAX_NAME_CHARS = 60

Respond = Callable[[HttpRequest], HttpResponseBase]
RespondAsync = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def reader_zone(get_response: Respond | RespondAsync) -> Respond | RespondAsync:
    """Middleware: the reader's zone is Django's current one while the request is answered."""
    if iscoroutinefunction(get_response):
        respond_async = cast(RespondAsync, get_response)

        async def in_zone_async(request: HttpRequest) -> HttpResponseBase:
            with timezone.override(zone_of(request)):
                return await respond_async(request)

        return in_zone_async
    respond = cast(Respond, get_response)

    def in_zone(request: HttpRequest) -> HttpResponseBase:
        with timezone.override(zone_of(request)):
            return respond(request)

    return in_zone


def zone_of(request: HttpRequest) -> zoneinfo.ZoneInfo | None:
    """The zone that the reader's browser named; None, which is UTC, where there is none."""
    return zone_named(unquote(request.COOKIES.get(COOKIE, "")))


@lru_cache(maxsize=512)
def zone_named(name: str) -> zoneinfo.ZoneInfo | None:
    """The zone of that name in the time zone database, and nothing else: a name is a path there."""
    if not 0 < len(name) <= MAX_NAME_CHARS or name not in _known():
        return None
    return zoneinfo.ZoneInfo(name)


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
