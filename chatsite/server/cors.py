"""Calls from pages of other sites (CORS): only of origins that the operator names.

A browser asks first, without the key (preflight), and shows a page a reply only if the reply names
the page's origin: the refusals too, or the page sees a network error instead of a reason. Whoever
answers adds `headers`, be it the API or, before it, the web server. Nothing here is about cookies:
the API knows keys alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

METHODS = "GET, HEAD, POST, OPTIONS"
MAX_AGE_S = 600
EXPOSED = (
    "x-request-id, Link, Retry-After, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, "
    "x-ratelimit-reset-tokens"
)

Headers = list[tuple[bytes, bytes]]
Message = Mapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def headers(origin: bytes | None) -> Headers:
    """The headers of a reply to a page of that origin; none while no origin may call."""
    if not settings.API_CORS_ORIGINS:
        return []
    found = [(b"vary", b"Origin, Access-Control-Request-Headers")]
    if origin and _is_allowed(origin):
        found.append((b"access-control-allow-origin", origin))
        found.append((b"access-control-expose-headers", EXPOSED.encode()))
    return found


def preflight(scope: Mapping[str, Any]) -> Headers | None:
    """The headers that answer a browser that asks first; None for any other request or origin."""
    asked = dict(scope["headers"])
    asks = scope["method"] == "OPTIONS" and b"access-control-request-method" in asked
    if not asks or not _is_allowed(asked.get(b"origin", b"")):
        return None
    found = [
        *headers(asked[b"origin"]),
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-max-age", str(MAX_AGE_S).encode()),
    ]
    if wanted := asked.get(b"access-control-request-headers"):
        found.append((b"access-control-allow-headers", wanted))
    if asked.get(b"access-control-request-private-network") == b"true":
        found.append((b"access-control-allow-private-network", b"true"))
    return found


def naming_origin(scope: Mapping[str, Any], send: Send) -> Send:
    """`send`, with the headers of whatever reply is begun by it."""
    added = headers(dict(scope["headers"]).get(b"origin"))

    async def send_named(message: Message) -> None:
        if added and message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return send_named


def _is_allowed(origin: bytes) -> bool:
    """It is sent back as it came, so it must not be able to end a header."""
    text, allowed = origin.decode("latin-1"), settings.API_CORS_ORIGINS
    is_plain = text.isascii() and text.isprintable() and bool(text)
    return is_plain and ("*" in allowed or text.lower() in allowed)
