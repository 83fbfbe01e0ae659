"""Lets a socket be opened by the site's own pages alone.

Browsers send cookies along with a socket that any page opens, so the Origin header decides. It must
be what the person's browser was told to connect to, port included: another program's page on the
same host is as foreign as another host's. The same rule as for forms (Django's CSRF check), so
CSRF_TRUSTED_ORIGINS is the way out behind a proxy that changes the Host header.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host


class SameOriginOnly:
    """ASGI middleware for sockets: denies (403) those of a missing, null or foreign origin."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not is_own(headers.get(b"origin", ""), host=headers.get(b"host", "")):
            return await WebsocketDenier()(scope, receive, send)
        return await self.application(scope, receive, send)


def is_own(origin: str, *, host: str) -> bool:
    """Whether a page of that origin belongs to the site that was addressed as `host`."""
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    schemes = ("https",) if settings.BEHIND_TLS else ("http", "https")
    try:
        page = urlsplit(origin)
    except ValueError:
        return False
    domain, _ = split_domain_port(host)
    return (
        page.scheme in schemes
        and page.netloc.lower() == host.lower()
        and bool(domain)
        and validate_host(domain, settings.ALLOWED_HOSTS)
    )
