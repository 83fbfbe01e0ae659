"""To a signed-in person who isn't staff no address of the admin exists, whatever it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

VALUES = {"uuid": str(uuid.uuid4()), "int": "1", "slug": "time", "path": "1", "str": "1"}


def addresses(resolver: URLResolver, before: str = "") -> Iterator[str]:
    """Every address below /admin/ with something in its places."""
    for pattern in resolver.url_patterns:
        written = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, written)
        elif isinstance(pattern, URLPattern):
            if "(?P<app_label>" in written:
                yield from (f"/admin/{label}/" for label in ("accounts", "catalog", "metrics"))
            elif "(?P" not in written:
                yield "/" + filled(written)


def filled(written: str) -> str:
    for kind, value in VALUES.items():
        while f"<{kind}:" in written:
            start = written.index(f"<{kind}:")
            end = written.index(">", start)
            written = written[:start] + value + written[end + 1 :]
    return written.replace("^", "").replace("$", "")


@pytest.fixture(scope="module")
def admin_addresses() -> list[str]:
    found = [url for url in addresses(get_resolver()) if url.startswith("/admin")]
    assert len(found) > 60
    return [
        *found,
        "/admin/nothing-like-it/",
        "/admin/latency/nothing.csv",
        "/admin/metrics/nothing/",
    ]


@pytest.mark.parametrize("method", ["get", "post"])
def test_every_address_is_a_404_for_others(alice, signed_in, admin_addresses, method):
    client = signed_in(alice)
    answers = {url: getattr(client, method)(url).status_code for url in admin_addresses}
    own_pages = [url for url in answers if url.startswith("/admin/latency/requests/")]
    if method == "post":  # the page of a request is also its owner's: it exists, but takes no POST
        assert {answers.pop(url) for url in own_pages} == {405}
    assert {url: status for url, status in answers.items() if status != 404} == {}


def test_whoever_has_not_signed_in_is_asked_to(db, client, admin_addresses):
    for url in ("/admin/", "/admin/latency/", "/admin/workers/", "/admin/nothing-like-it/"):
        assert client.get(url).status_code == 302


def test_staff_come_in(charlie, signed_in):
    assert signed_in(charlie).get("/admin/").status_code == 200
