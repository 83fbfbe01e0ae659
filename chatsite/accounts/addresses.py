"""The client's IP address, for counting failed sign-ins.

X-Forwarded-For is believed only from a proxy that TRUSTED_PROXIES names (by default, behind TLS,
one on this machine): whoever reaches the port directly could write any address into it. Each proxy
appends whom it was asked by, so the client is the last entry that is no trusted proxy; what stands
before it is the client's own claim.
"""

from __future__ import annotations

import ipaddress
import logging
from functools import cache

from django.conf import settings
from django.http import HttpRequest

logger = logging.getLogger(__name__)


def client_address(request: HttpRequest) -> str | None:
    """The person's IP address, or None when the connection has none (a unix socket)."""
    peer = str(request.META.get("REMOTE_ADDR") or "")
    forwarded = request.headers.get("X-Forwarded-For", "")
    if not _is_trusted(peer):
        if forwarded and settings.BEHIND_TLS:
            _warn_once(peer)
        return peer if _is_address(peer) else None
    for entry in reversed([entry.strip() for entry in forwarded.split(",")]):
        if not _is_address(entry):
            break
        if not _is_trusted(entry):
            return entry
        peer = entry
    return peer if _is_address(peer) else None


def _is_trusted(address: str) -> bool:
    """A connection without an address comes over a unix socket, from this machine."""
    if not settings.TRUSTED_PROXIES:
        return False
    if not address:
        return True
    if not _is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(mapped in network for network in settings.TRUSTED_PROXIES)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@cache
def _warn_once(peer: str) -> None:
    logger.warning("X-Forwarded-For from %s is not believed: see TRUSTED_PROXIES", peer)
