"""The bench's client counts tokens itself, and believes no server that counts others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from bench.api_client import ask, wave
from bench.peers import install


@asynccontextmanager
async def server(chunks: Sequence[list[int]], *, told: int) -> AsyncIterator[tuple[str, list]]:
    """Answers every request with chunks of these token ids and a usage of its own."""
    asked: list[dict] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1].split(b"\r")[0])
        asked.append(json.loads(await reader.readexactly(length)))
        events: list[dict] = [{"choices": [{"text": "", "token_ids": ids}]} for ids in chunks]
        events.append({"choices": [], "usage": {"completion_tokens": told}})
        lines = [f"data: {json.dumps(event)}\n\n" for event in events]
        writer.write(("HTTP/1.1 200 OK\r\n\r\n" + "".join(lines) + "data: [DONE]\n\n").encode())
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


@pytest.mark.asyncio
async def test_tokens_are_counted_by_their_ids():
    async with server([[], [5], [6, 7], []], told=3) as (url, asked):
        answer = await ask(url, "key", model="m", max_tokens=3)
        again = await ask(url, "key", model="m", max_tokens=3)
    assert (answer.tokens, answer.told, len(answer.arrivals)) == (3, 3, 2)
    assert again.is_complete
    numbers = [int(body["prompt"].split(".")[0]) for body in asked]
    assert numbers[1] == numbers[0] + 1


@pytest.mark.asyncio
@pytest.mark.parametrize(("chunks", "told"), [([[5], [6]], 3), ([[5], [6], [7]], 2)])
async def test_a_server_that_counts_others_is_not_believed(chunks, told):
    async with server(chunks, told=told) as (url, _asked):
        with pytest.raises(RuntimeError, match=f"{len(chunks)} of 3 tokens came"):
            await wave(url, "key", model="m", streams=1, max_tokens=3)


def test_an_absent_client_ends_the_bench_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(install, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"install\.py guidellm"):
        install.program_of("guidellm", "guidellm")
