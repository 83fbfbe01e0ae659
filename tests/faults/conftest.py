"""A real worker with the real model, and requests to it."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import tests.support.requests
from chatsite.generation.transcript import Transcript
from inference import client
from inference.contract import GenerationRequest, SamplingParams, Stamp
from tests.support.page import PASSWORD, PRESETS, sign_in
from tests.support.redis import RedisServer
from tests.support.stack import Stack
from tests.support.worker import MODEL, Worker

Ask = Callable[..., GenerationRequest]


@pytest.fixture(scope="module")
def worker(
    redis_server: RedisServer, default_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    redis_server.start()
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    made = Worker(log).start().wait_ready()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def site(default_model_dir: Path) -> Iterator[Stack]:
    """A site of these tests' own: they stop parts of it."""
    with Stack() as running:
        running.add_user("alice", password=PASSWORD)
        running.python(PRESETS)
        yield running


@pytest.fixture
def alice(site: Stack) -> httpx.Client:
    return sign_in(site, "alice")


@pytest.fixture
def ask() -> Ask:
    """Submit a greedy request of `max_tokens` tokens that doesn't end by itself."""

    def submit(
        text: str = "Count slowly.", *, max_tokens: int = 120, **changes: Any
    ) -> GenerationRequest:
        turns = [{"role": "user", "content": text}]
        fitted = client.fit(MODEL, turns, max_tokens=max_tokens)
        request = GenerationRequest(
            request_id=uuid.uuid4().hex,
            model=MODEL,
            prompt_token_ids=tuple(fitted.token_ids),
            sampling=SamplingParams(
                temperature=0.0, max_tokens=max_tokens, ignore_eos=True, seed=1
            ),
            received=Stamp.now(),
            wants_records=True,
        )
        request = dataclasses.replace(request, **changes)
        client.submit(request)
        return request

    return submit


def transcript(request: GenerationRequest) -> Transcript:
    try:
        return Transcript().fold(client.read(request.request_id))
    except client.RedisUnavailable:
        return Transcript()


until = partial(tests.support.requests.until, timeout_s=150)
"""Recovery takes seconds, and a worker's start more of them."""


def recover_lost() -> None:
    """What the site's periodic task does for requests, without a site."""
    try:
        for request_id in client.lost_requests():
            if not client.resubmit(request_id):
                client.interrupt(request_id)
    except client.RedisUnavailable:
        pass
