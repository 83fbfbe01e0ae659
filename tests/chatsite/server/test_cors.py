"""A page of another origin can read why it is refused, whoever refuses it: through real Daphne.

There is neither Redis nor a database: what is refused here is refused before, or because of that.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest

from tests.support.stack import Stack

APP = "https://app.example.org"
ASKS = "Access-Control-Request-Method: POST"
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def site() -> Iterator[Stack]:
    """Daphne alone, which takes a kilobyte within a second."""
    environment = {"API_CORS_ORIGINS": APP, "API_MAX_BODY_BYTES": "1000", "MAX_BODY_S": "1"}
    running = Stack(environment=environment)
    try:
        running.start_web()
        running.wait_up()
        yield running
    finally:
        running.stop()


def told(
    site: Stack, *, lines: Sequence[str] = (), to: str = "POST /v1/chat/completions",
    origin: str = APP, body: bytes = b"", host: str = "localhost",
) -> tuple[int, dict[str, list[str]], bytes]:  # fmt: skip
    """Status, headers and body of the answer to a request of these lines."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        first = f"{to} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n"
        rest = "".join(f"{line}\r\n" for line in lines)
        connection.sendall(first.encode() + rest.encode("latin-1") + b"\r\n" + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    headers: dict[str, list[str]] = {}
    for field in fields:
        name, _, value = field.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    return int(status.split()[1]), headers, content


REFUSALS = {
    "too large, as it says": (413, {"lines": [JSON, "Content-Length: 1001"]}),
    "too large, as it turns out": (
        413,
        {"lines": [JSON, "Transfer-Encoding: chunked"], "body": b"3e9\r\n" + 1001 * b"x" + b"\r\n"},
    ),
    "too slow": (408, {"lines": [JSON, "Content-Length: 500"]}),
    "a header that can't be": (400, {"lines": ["X-Odd: a\x0bb"]}),
    "another host's name": (400, {"host": "evil.example"}),
    "no key": (401, {"lines": [JSON, "Content-Length: 2"], "body": b"{}"}),
    "no database": (
        503,
        {"lines": ["Authorization: Bearer sk-x"], "to": "GET /v1/models"},
    ),
    "no such URL": (404, {"to": "GET /v1/nothing"}),
    "a base URL without /v1": (404, {"lines": [JSON], "to": "POST /chat/completions"}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_allowed_page_reads_why(site, name):
    status, asked = REFUSALS[name]
    got, headers, body = told(site, **asked)
    assert got == status
    assert headers["access-control-allow-origin"] == [APP]
    assert "Retry-After" in headers["access-control-expose-headers"][0]
    assert any("Origin" in value for value in headers["vary"])
    assert body


@pytest.mark.parametrize("name", REFUSALS)
def test_another_page_does_not(site, name):
    status, asked = REFUSALS[name]
    got, headers, _ = told(site, **asked, origin="https://evil.example")
    assert got == status
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_a_browser_may_ask_first_even_where_it_is_refused_then(site, path):
    """Else it never sends what the refusal would explain."""
    for host in ("localhost", "evil.example"):
        status, headers, _ = told(site, lines=[ASKS], to=f"OPTIONS {path}", host=host)
        assert (status, headers["access-control-allow-origin"]) == (204, [APP])
        assert "POST" in headers["access-control-allow-methods"][0]


def test_another_origin_may_not_ask(site):
    status, headers, _ = told(
        site, lines=[ASKS], to="OPTIONS /v1/models", origin="https://app.example.org.evil"
    )
    assert status == 405
    assert "access-control-allow-origin" not in headers


def test_pages_stay_the_site_s_own(site):
    status, headers, _ = told(site, to="GET /healthz")
    assert status == 200
    assert "access-control-allow-origin" not in headers
