"""Streams completions from any server of the API with as little client as possible.

Servers and client share this machine's cores, so nothing is parsed before a stream's end. Tokens are
counted by their ids in the chunks, and the server's own count must be the same.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

QUESTIONS = (
    "What is a token, and why do language models count in them?",
    "Write a short story about a lighthouse keeper who learns to cook.",
    "List five things to check before a long bicycle tour, with one reason each.",
    "How does a bank differ from a bench, and why do some languages use one word for both?",
)
serial = iter(range(10_000, 10**9))


@dataclass
class Answer:
    """One stream as its client saw it; times in seconds of the monotonic clock.

    `arrivals` are those of chunks with tokens; `told` is how many the server says there were.
    """

    sent: float
    arrivals: list[float] = field(default_factory=list)
    tokens: int = 0
    told: int = 0
    is_complete: bool = False
    timings: dict[str, Any] = field(default_factory=dict)

    @property
    def ttft_ms(self) -> float:
        return (self.arrivals[0] - self.sent) * 1000

    @property
    def tpot_ms(self) -> float:
        return (self.arrivals[-1] - self.arrivals[0]) * 1000 / max(1, self.tokens - 1)

    def read(self, lines: list[tuple[float, bytes]]) -> None:
        """Take in what came and when. Raises RuntimeError for an error among it."""
        for arrived, line in lines:
            if line.startswith(b"data: [DONE]"):
                self.is_complete = True
            elif line.startswith(b"data: "):
                self._take(arrived, json.loads(line[6:]))

    def _take(self, arrived: float, event: dict[str, Any]) -> None:
        if "error" in event:
            raise RuntimeError(f"the stream ended with {event['error']}")
        tokens = sum(len(choice.get("token_ids") or ()) for choice in event["choices"])
        if tokens:
            self.arrivals.append(arrived)
            self.tokens += tokens
        if event.get("usage"):
            self.told = event["usage"]["completion_tokens"]
            self.timings = event.get("timings") or {}


async def ask(url: str, key: str, *, model: str, max_tokens: int, **more: Any) -> Answer:
    """One completion. The prompt begins with a number of its own: no prefix is known already."""
    number = next(serial)
    body = {
        "model": model,
        "prompt": f"{number}. {QUESTIONS[number % len(QUESTIONS)]}\n",
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
        **more,
    }
    reader, writer, sent = await opened(url, key, body)
    answer, lines = Answer(sent), []
    while line := await reader.readline():
        lines.append((time.monotonic(), line))
    writer.close()
    answer.read(lines)
    return answer


async def opened(
    url: str, key: str, body: dict[str, Any]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, float]:
    """A stream that has begun: its status is 200. Also when it was asked for."""
    content = json.dumps(body).encode()
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**20)
    sent = time.monotonic()
    writer.write(
        f"POST /v1/completions HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n".encode()
        + content
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{url}: {status!r} {(await reader.read(2000))!r}")
    return reader, writer, sent


async def wave(
    url: str, key: str, *, model: str, streams: int, max_tokens: int
) -> tuple[list[Answer], float]:
    """That many at once; the answers, and tokens per second of wall time, prefill included.

    Raises RuntimeError when tokens are missing, or the server counts others than came.
    """
    begin = time.monotonic()
    answers = await asyncio.gather(
        *(ask(url, key, model=model, max_tokens=max_tokens) for _ in range(streams))
    )
    seconds = time.monotonic() - begin
    for answer in answers:
        if not answer.is_complete or not answer.tokens == answer.told == max_tokens:
            raise RuntimeError(
                f"{answer.tokens} of {max_tokens} tokens came, and {url} says {answer.told}"
            )
    return answers, streams * max_tokens / seconds
