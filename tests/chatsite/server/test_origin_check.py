"""Who may open a socket. That sockets ask is tested in chat/test_socket.py."""

from __future__ import annotations

from typing import Any

import pytest

from chatsite.server.origin_check import is_own


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("https://localhost", "localhost"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://LOCALHOST:8000", "localhost:8000"),
    ],
)
def test_the_sites_own_pages_may(origin: str, host: str) -> None:
    assert is_own(origin, host=host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "localhost:8000"),
        ("null", "localhost:8000"),
        ("https://evil.example", "localhost:8000"),
        ("http://localhost:3000", "localhost:8000"),  # another program on this machine
        ("http://localhost", "localhost:8000"),
        ("http://localhost:8000.evil.example", "localhost:8000"),
        ("http://localhost:8000@evil.example", "localhost:8000"),
        ("file://localhost:8000", "localhost:8000"),
        ("http://[::1", "[::1"),
        ("http://evil.example", "evil.example"),  # a foreign name that points here
        ("http://", ""),
    ],
)
def test_others_may_not(origin: str, host: str) -> None:
    assert not is_own(origin, host=host)


def test_every_allowed_host_still_means_ones_own(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert is_own("http://chat.example:8000", host="chat.example:8000")
    assert not is_own("http://evil.example", host="chat.example:8000")


def test_behind_tls_a_page_without_it_may_not(settings: Any) -> None:
    settings.BEHIND_TLS = True
    settings.ALLOWED_HOSTS = ["chat.example"]
    assert is_own("https://chat.example", host="chat.example")
    assert not is_own("http://chat.example", host="chat.example")


def test_a_trusted_origin_may_though_the_proxy_changed_the_host(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example"]
    assert is_own("https://chat.example", host="10.0.0.7:8000")
