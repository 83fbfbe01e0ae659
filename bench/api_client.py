"""Streams completions from any server of the API with as little client as possible.

Servers and client share this machine's cores, so nothing is parsed before a stream's end.
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
    """One stream as its client saw it; times in seconds of the monotonic clock."""

    sent: float
    arrivals: list[float] = field(default_factory=list)
    tokens: int = 0
    is_complete: bool = False
    timings: dict[str, Any] = field(default_factory=dict)

    @property
    def ttft_ms(self) -> float:
        return (self.arrivals[0] - self.sent) * 1000

    @property
    def tpot_ms(self) -> float:
        return (self.arrivals[-1] - self.arrivals[0]) * 1000 / max(1, self.tokens - 1)


async def ask(url: str, key: str, *, model: str, max_tokens: int, **more: Any) -> Answer:
    """One completion. The prompt begins with a number of its own: no prefix is known already."""
    prompt = f"{next(serial)}. {QUESTIONS[next(serial) % len(QUESTIONS)]}\n"
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **more,
    }
    content = json.dumps(body).encode()
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**20)
    answer = Answer(sent=time.monotonic())
    writer.write(
        f"POST /v1/completions HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n".encode()
        + content
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{url}: {status!r} {(await reader.read(2000))!r}")
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            answer.is_complete = True
        elif line.startswith(b"data: "):
            if b'"choices":[]' in line.replace(b" ", b""):
                event = json.loads(line[6:])
                answer.tokens = event["usage"]["completion_tokens"]
                answer.timings = event.get("timings") or {}
            else:
                answer.arrivals.append(time.monotonic())
    writer.close()
    return answer


async def wave(
    url: str, key: str, *, model: str, streams: int, max_tokens: int
) -> tuple[list[Answer], float]:
    """That many at once; the answers, and tokens per second of wall time, prefill included."""
    begin = time.monotonic()
    answers = await asyncio.gather(
        *(ask(url, key, model=model, max_tokens=max_tokens) for _ in range(streams))
    )
    seconds = time.monotonic() - begin
    assert all(a.is_complete and a.tokens == max_tokens for a in answers), "tokens were lost"
    return answers, streams * max_tokens / seconds
