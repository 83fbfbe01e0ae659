"""From which address somebody comes, for counting failed sign-ins.

Behind a proxy every connection comes from the proxy. What it appended to X-Forwarded-For is then
the person's address; what stands before that, the person may have written. Without a proxy
(BEHIND_TLS unset) the header is anybody's word and not looked at.
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
