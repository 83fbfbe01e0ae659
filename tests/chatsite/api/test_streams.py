"""Streams for real: many lose nothing, none runs on for nobody, and bodies are bounded."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
import uuid
from urllib.parse import quote

import httpx
import pytest

from tests.support.stack import MODELS, SLUG

pytestmark = pytest.mark.timeout(300)

ENDLESS = {"prompt": "Once", "max_tokens": 4000, "ignore_eos": True}


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_stops_its_generation(streams, stream):
    await streams.until_alive(0)
    async with httpx.AsyncClient(timeout=60) as client:
        body = {"model": SLUG, "stream": stream, **ENDLESS}
        task = asyncio.create_task(client.post(streams.url, json=body, headers=streams.headers))
        await streams.until_alive(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await streams.until_alive(0, seconds=2)


@pytest.mark.asyncio
async def test_deleting_a_person_stops_what_their_keys_have_under_way(streams, stack):
    await streams.until_alive(0)
    stack.add_user("bob-who-leaves")
    headers = {"Authorization": f"Bearer {stack.api_key('bob-who-leaves')}"}
    async with httpx.AsyncClient(timeout=60) as client:
        body = {"model": SLUG, "stream": True, **ENDLESS}
        async with client.stream("POST", streams.url, json=body, headers=headers) as reply:
            events = (line[6:] async for line in reply.aiter_lines() if line.startswith("data: "))
            await anext(events)
            await asyncio.to_thread(
                stack.python,
                "from chatsite.accounts.models import User\n"
                "User.objects.get(username='bob-who-leaves').delete()\n",
            )
            await streams.until_alive(0, seconds=2)
            last = [event async for event in events][-1]
        assert json.loads(last)["error"]["code"] == "cancelled"


@pytest.mark.asyncio
async def test_many_streams_at_once_lose_nothing(streams, stack):
    """64 here, to be quick; bench/api.py does it with 256."""
    tokens = 24
    threads_before = _threads(stack)
    async with httpx.AsyncClient(timeout=200, limits=httpx.Limits(max_connections=80)) as client:
        asked = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
        more = {"return_token_ids": True, "stream_options": {"include_usage": True}}
        all_events = await asyncio.gather(
            *(streams.one(client, prompt=[100 + i, 7, 9], **asked, **more) for i in range(64))
        )
        alone = await streams.one(client, prompt=[163, 7, 9], **asked, **more)
    for events in all_events:
        ids = [i for e in events for c in e["choices"] for i in c.get("token_ids", [])]
        assert len(ids) == tokens == events[-1]["usage"]["completion_tokens"]
    assert _text(all_events[-1]) == _text(alone)
    assert _threads(stack) <= threads_before + 10  # a few for all, not one for each


def _text(events: list[dict]) -> str:
    return "".join(c["text"] for e in events for c in e["choices"])


def _threads(stack) -> int:
    return len(os.listdir(f"/proc/{stack.processes['web'].pid}/task"))


def test_continuous_usage(http):
    body = {"model": SLUG, "prompt": "a", "max_tokens": 3, "stream": True, "ignore_eos": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True}}  # fmt: skip
    lines = http.post("/completions", json=body).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts == sorted(counts)
    assert counts[-1] == 3


def test_the_header_leads_the_keys_owner_to_the_requests_page(http, stack):
    reply = http.post("/completions", json={"model": SLUG, "prompt": "a", "max_tokens": 1})
    assert reply.json()["id"] == "cmpl-" + reply.headers["x-request-id"]
    page = stack.url + reply.headers["link"].partition("<")[2].partition(">")[0]
    with httpx.Client(base_url=stack.url, follow_redirects=True, timeout=30) as browser:
        browser.get("/accounts/sign-in/")
        given = {"username": "alice-of-test_streams", "password": "a long pass phrase"}
        given["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
        signed_in = browser.post("/accounts/sign-in/", data=given, headers={"Referer": stack.url})
        assert signed_in.status_code == 200, signed_in.text[:500]
        shown = browser.get(page)
        assert shown.status_code == 200
        assert str(shown.url) == page  # not the page to sign in, which names it too
        assert str(uuid.UUID(reply.headers["x-request-id"])) in shown.text
    assert "sign-in" in httpx.get(page, timeout=30).headers["location"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b'{"model":', "application/json", 400, "invalid_json"),
        (b"[" * 100_000, "application/json", 400, "invalid_json"),
        (b'{"model": NaN}', "application/json", 400, "invalid_json"),
        (b'{"model": "\\ud800"}', "application/json", 400, "invalid_json"),
        (b'{"model": "\xff"}', "application/json", 400, "invalid_json"),
        (b"", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "invalid_type"),
        (b"{}", "text/plain", 415, "unsupported_content_type"),
        (b"x" * 8_000_001, "application/json", 413, "body_too_large"),
    ],
)
def test_bodies_that_are_none(http, content, kind, status, code):
    headers = {"Content-Type": kind}
    reply = http.post("/chat/completions", content=content, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/tokenize", b"{" + b",".join(b'"k%d":0' % n for n in range(60_000)) + b"}"),
        ("/chat/completions", b'{"messages":[{"role":"user","content":[%s0]}]}' % (b"0," * 3_900_000)),
        ("/completions", b'{"model":"x","prompt":[%s""]}' % (b'"",' * 2_000_000)),
        ("/detokenize", b'{"model":"x","tokens":[%s""]}' % (b'"",' * 900_000)),
    ],
    ids=["unknown arguments", "parts", "prompts", "tokens"],
)  # fmt: skip
def test_a_body_of_countless_faults_is_refused_by_the_first(http, path, content):
    headers = {"Content-Type": "application/json"}
    began = time.monotonic()
    reply = http.post(path, content=content, headers=headers)
    assert reply.status_code == 400
    assert len(reply.content) < 2000
    assert time.monotonic() - began < 15  # quadratic, or a record of each fault, took minutes


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
def test_a_path_is_no_models_name(http, stack, path):
    folder = str(MODELS / SLUG)
    more = {"prompt": "x"} if path == "/tokenize" else {"tokens": [1]}
    assert http.post(path, json={"model": folder, **more}).status_code == 404
    assert http.post(path, json={"model": SLUG, **more}).status_code == 200


def test_a_body_of_claimed_gigabytes_is_refused_before_it_comes(stack, secret):
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 9000000000\r\n\r\n{"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "path", ["/nothing", "/", "/chat", "/engines/x/completions", "/models/a\nb"]
)
def test_unknown_urls(http, path):
    reply = http.post(quote(path), json={})
    assert reply.status_code == 404
    assert reply.json()["error"]["message"] == f"Invalid URL (POST /v1{path})"


def test_a_wrong_method_names_the_right_one(http):
    reply = http.get("/chat/completions")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


def test_a_foreign_host_is_refused(http):
    assert http.get("/models", headers={"Host": "evil.example"}).status_code == 400


def test_quotas_and_scopes(stack, secret):
    made = stack.python(
        "from chatsite.accounts.models import User\n"
        "from chatsite.api.access.api_keys import make_key\n"
        "alice = User.objects.get(username='alice-of-test_streams')\n"
        "print(make_key(alice, name='reader', is_read_only=True)[1])\n"
        "print(make_key(alice, name='slow', requests_per_minute=1)[1])\n"
        "print(make_key(alice, name='other', model_slugs=['another'])[1])\n"
        "from django.utils import timezone\n"
        "print(make_key(alice, name='old', expires_at=timezone.now())[1])\n"
    )
    reader, slow, other, old = made.split()[-4:]
    body = {"model": SLUG, "prompt": "a", "max_tokens": 1}

    def post(key: str, path: str = "/v1/completions", **more) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(stack.url + path, json=body | more, headers=headers, timeout=60)

    def models_of(key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(stack.url + "/v1/models", headers=headers, timeout=60)

    assert models_of(other).json() == {"object": "list", "data": []}
    assert [model["id"] for model in models_of(reader).json()["data"]] == [SLUG]
    for refused in (models_of(old), post(old)):
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "expired_api_key"
        assert refused.headers["www-authenticate"] == "Bearer"
    assert post(reader).status_code == 403
    assert post(other).status_code == 404
    assert post(slow).status_code == 200
    refused = post(slow)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("logprobs", [None, 1])
def test_an_echo_is_streamed_once_and_so_is_the_usage(http, logprobs):
    asked = {"model": SLUG, "prompt": ["1, 2,", "a"], "max_tokens": 4, "temperature": 0, "echo": True,
             "logprobs": logprobs}  # fmt: skip
    whole = http.post("/completions", json=asked).json()
    with_usage = {"stream": True, "stream_options": {"include_usage": True}}
    for more in ({"stream": True}, with_usage):
        lines = http.post("/completions", json=asked | more).text.splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        for index, choice in enumerate(whole["choices"]):
            parts = [c for e in events for c in e["choices"] if c["index"] == index]
            assert "".join(part["text"] for part in parts) == choice["text"]
        told = [event["usage"] for event in events if event.get("usage")]
        assert told == ([whole["usage"]] if "stream_options" in more else [])
        assert ["timings" in event for event in events] == [False] * (len(events) - 1) + [True]
