"""Alice's key, and clients that use it against the running site."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import redis

from tests.support.stack import SLUG, Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pytest 9.2 drops what schemathesis adds to a test's name: all would have the same."""
    for item in items:
        if operation := getattr(item, "operation_label", None):
            item._id = item.id.with_params(operation)


@pytest.fixture(scope="module")
def secret(request: pytest.FixtureRequest, stack: Stack) -> str:
    """A key of a person of each test module's own, on the site that the module uses."""
    name = f"alice-of-{request.module.__name__.rsplit('.')[-1]}"
    stack.add_user(name)
    return stack.api_key(name)


@pytest.fixture(scope="module")
def ai(stack: Stack, secret: str) -> Iterator[openai.OpenAI]:
    """The official client, with nothing changed but its base URL and key."""
    with openai.OpenAI(base_url=stack.url + "/v1", api_key=secret, max_retries=0) as client:
        yield client


@pytest.fixture
def http(stack: Stack, secret: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=stack.url + "/v1", headers=headers, timeout=60) as client:
        yield client


class Streams:
    """Many streams at once, by a plain HTTP client."""

    def __init__(self, stack: Stack, secret: str) -> None:
        self.url = stack.url + "/v1/completions"
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.redis = redis.Redis.from_url(stack.redis.url)

    async def one(self, client: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
        """Every event of one stream. Fails unless it ends with [DONE]."""
        events: list[dict[str, Any]] = []
        body = {"model": SLUG, "stream": True, **body}
        async with client.stream("POST", self.url, json=body, headers=self.headers) as reply:
            assert reply.status_code == 200, await reply.aread()
            async for line in reply.aiter_lines():
                if line == "data: [DONE]":
                    return events
                if line.startswith("data: "):
                    events.append(json.loads(line[6:]))
        raise AssertionError("the stream ended without [DONE]")

    def alive(self) -> int:
        """How many requests of the site wait or run."""
        return int(self.redis.scard("chatsite:live"))

    async def until_none_waits(self, *, seconds: float = 10) -> None:
        """Until a worker has taken up every request."""
        async with asyncio.timeout(seconds):
            while self.redis.zcard(f"chatsite:waiting:{SLUG}"):
                await asyncio.sleep(0.01)

    async def until_alive(self, number: int, *, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while self.alive() != number:
                await asyncio.sleep(0.01)


@pytest.fixture
def streams(stack: Stack, secret: str) -> Streams:
    return Streams(stack, secret)
