"""A program that asks for more than there is: it is told so, and people don't wait behind it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.stack import SLUG, Stack

pytestmark = pytest.mark.timeout(200)

ENDLESS = {"model": SLUG, "prompt": "Once", "max_tokens": 4000, "ignore_eos": True}
A_PERSON_ASKS = f"""
import json, time
from inference import client
from inference.contract import GenerationRequest, Result, SamplingParams, Stamp
from uuid import uuid4
asked = GenerationRequest(
    request_id=uuid4().hex, model={SLUG!r}, prompt_token_ids=(100, 7, 9),
    sampling=SamplingParams(max_tokens=4, ignore_eos=True, seed=1), received=Stamp.now(),
)
client.submit(asked)
began = time.monotonic()
while not (events := client.read(asked.request_id)) or not isinstance(events[-1], Result):
    assert time.monotonic() - began < 20, events
    time.sleep(0.02)
print(json.dumps({{"seconds": time.monotonic() - began, "ended": events[-1].finish_reason}}))
"""


@pytest.fixture(scope="module")
def stack(default_model_dir) -> Iterator[Stack]:
    """Two answers at once, eight places in the worker and eight in the line."""
    environment = {
        "CHATSITE_MAX_RUNNING": "2",
        "CHATSITE_MAX_WAITING": "8",
        "API_MAX_UNFINISHED": "20",
        "API_HEARTBEAT_S": "1",
        "CHATSITE_DTYPE": "bfloat16",
    }
    with Stack(environment=environment, concurrency=8) as running:
        yield running


@pytest.mark.asyncio
async def test_a_program_that_fills_all_it_may_leaves_room_for_people(stack, streams, secret):
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(timeout=60, headers=headers) as client:

        async def fill(number: int) -> httpx.Response:
            """Status and headers of a call for so many choices; those under way stay."""
            asked = client.build_request(
                "POST", streams.url, json=ENDLESS | {"n": number, "stream": True}
            )
            return await client.send(asked, stream=True)

        held = [await fill(7)]  # seven of the worker's eight places
        await streams.until_none_waits()
        held.append(await fill(7))  # seven of the line's eight
        assert [reply.status_code for reply in held] == [200, 200]
        full = await fill(1)
        assert full.status_code == 503
        assert int(full.headers["retry-after"]) >= 1
        assert json.loads(await full.aread())["error"]["code"] == "queue_full"
        too_many = await fill(7)
        assert too_many.status_code == 429
        assert json.loads(await too_many.aread())["error"]["type"] == "rate_limit_error"
        assert int(too_many.headers["retry-after"]) >= 1
        never = await fill(21)
        assert never.status_code == 400
        assert json.loads(await never.aread())["error"]["param"] == "n"

        told = json.loads(stack.python(A_PERSON_ASKS).strip().splitlines()[-1])
        assert told["ended"] == "length"
        assert told["seconds"] < 5
        assert streams.alive() == 14  # nothing of the program's was lost for it
        for reply in (full, too_many, never, *held):
            await reply.aclose()
    await streams.until_alive(0, seconds=5)


@pytest.mark.parametrize("stream", [True, False])
def test_without_its_queue_the_site_says_so_and_goes_on_afterwards(stack, secret, stream):
    body = {"model": SLUG, "prompt": "a", "max_tokens": 1, "stream": stream}
    headers = {"Authorization": f"Bearer {secret}"}

    def post() -> httpx.Response:
        url = stack.url + "/v1/completions"
        return httpx.post(url, json=body, headers=headers, timeout=30)

    assert post().status_code == 200
    stack.redis.stop()
    try:
        refused = post()
    finally:
        stack.redis.start()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "queue_unavailable"
    assert refused.json()["error"]["type"] == "server_error"
    deadline = time.monotonic() + 30
    while (reply := post()).status_code != 200:
        assert reply.status_code == 503
        assert time.monotonic() < deadline
        time.sleep(0.5)
