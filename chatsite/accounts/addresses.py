"""The client's IP address, for counting failed sign-ins.

Behind a proxy (BEHIND_TLS) it is the last entry of X-Forwarded-For, which the proxy appended;
earlier entries are the client's own claim. Without a proxy the header is ignored.
"""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """The person's IP address, or None when the connection has none (a unix socket)."""
    if settings.BEHIND_TLS:
        forwarded = request.headers.get("X-Forwarded-For", "").rsplit(",", 1)[-1].strip()
        if _is_address(forwarded):
            return forwarded
    peer = str(request.META.get("REMOTE_ADDR") or "")
    return peer if _is_address(peer) else None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
