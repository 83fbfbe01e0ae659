"""A client that doesn't read: the site holds little for it, and stops making what nobody takes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import SLUG, Stack

pytestmark = pytest.mark.timeout(200)

MAX_UNREAD_S = 3
MUCH = {
    "model": SLUG,
    "prompt": "Once",
    "n": 16,
    "ignore_eos": True,
    "stream": True,
    "logprobs": 20,
}


@pytest.fixture(scope="module")
def stack(default_model_dir: Path) -> Iterator[Stack]:
    environment = {"CHATSITE_DTYPE": "bfloat16", "MAX_UNREAD_S": str(MAX_UNREAD_S)}
    with Stack(environment=environment) as running:
        yield running


def opened(stack: Stack, secret: str, body: dict) -> socket.socket:
    """A connection that has asked, with room for little."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", stack.port))
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def drain(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(1 << 16):
        received += part
    return received


def memory_mb(stack: Stack) -> float:
    status = Path(f"/proc/{stack.processes['web'].pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.asyncio
async def test_a_client_that_reads_nothing_is_cut_off_and_its_answers_stop(stack, secret, streams):
    before = memory_mb(stack)
    with opened(stack, secret, MUCH | {"max_tokens": 4000}) as connection:
        await streams.until_alive(16, seconds=20)
        await streams.until_alive(0, seconds=60)  # 4,000 tokens of each would take minutes
        assert memory_mb(stack) - before < 60
        with pytest.raises(ConnectionError):
            drain(connection)


def test_a_client_that_pauses_loses_nothing(stack, secret):
    tokens = 150
    with opened(stack, secret, MUCH | {"max_tokens": tokens}) as connection:
        received = b""
        for _ in range(4):
            received += connection.recv(1 << 12)
            time.sleep(1)
        received += drain(connection)
    assert received.count(b'"finish_reason":"length"') == 16
    assert b"data: [DONE]" in received
    told = sum(
        len(choice["logprobs"]["tokens"])
        for line in received.splitlines()
        if line.startswith(b"data: {")
        for choice in json.loads(line[6:])["choices"]
        if choice["logprobs"]
    )
    assert told == 16 * tokens
