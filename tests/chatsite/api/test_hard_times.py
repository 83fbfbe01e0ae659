"""A site in hard times: one answer at a time, impatient bounds, a model that thinks, no worker.

The model is the default one with two of its unused control tokens renamed to <think> and </think>,
a chat template that opens a thought unless `enable_thinking` is false, as Qwen3's does, and a short
context, which is soon full.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from tests.support.stack import SLUG, Stack
from tests.support.vocabularies import byte_level

pytestmark = pytest.mark.timeout(200)

OPENS_A_THOUGHT = (
    "{% if add_generation_prompt %}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
    "{% else %}{{ '<think>\n' }}{% endif %}{% endif %}"
)
HELLO = [{"role": "user", "content": "What is the capital of France?"}]
STORY = [{"role": "user", "content": "Write a long story about the sea and a lighthouse."}]
CONTEXT = 2048
ENDLESS = {"model": SLUG, "prompt": "Once", "max_tokens": 2000, "ignore_eos": True, "stream": True}


@pytest.fixture(scope="module")
def stack(default_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    models = tmp_path_factory.mktemp("models")
    thinking_model(default_model_dir, models / SLUG)
    byte_level(models / "gpt-oss", special=["<|start|>", "<|message|>"])
    environment = {
        "CHATSITE_MODELS": str(models),
        "CHATSITE_MAX_RUNNING": "1",
        "API_HEARTBEAT_S": "1",
        "MAX_BODY_S": "1",
        "CHATSITE_DTYPE": "bfloat16",
    }
    with Stack(environment=environment, concurrency=1) as running:
        yield running


def thinking_model(source: Path, target: Path) -> None:
    target.mkdir()
    for file in source.iterdir():
        if file.name == "tokenizer.json":
            text = file.read_text(encoding="utf-8")
            for old, new in (("<repo_name>", "<think>"), ("<reponame>", "</think>")):
                text = text.replace(f'"{old}"', f'"{new}"')
            tokenizer = json.loads(text)
            for token in tokenizer["added_tokens"]:
                token["special"] &= "think" not in token["content"]  # seen in the text, as Qwen3's
            (target / file.name).write_text(json.dumps(tokenizer), encoding="utf-8")
        elif file.name == "config.json":
            config = json.loads(file.read_text()) | {"max_position_embeddings": CONTEXT}
            (target / file.name).write_text(json.dumps(config))
        elif file.name == "chat_template.jinja":
            (target / file.name).write_text(file.read_text() + OPENS_A_THOUGHT)
        else:
            shutil.copy(file, target)  # a link out of its folder isn't served


# --- a model that thinks ---


CUT = {"model": SLUG, "messages": HELLO, "max_tokens": 12, "extra_body": {"min_tokens": 12}}


def test_thoughts_are_reasoning_content(ai):
    reply = ai.chat.completions.create(**CUT, temperature=0)
    message = reply.choices[0].message
    assert message.content == ""
    assert message.reasoning_content
    used = reply.usage
    assert used.completion_tokens_details.reasoning_tokens == used.completion_tokens == 12
    chunks = ai.chat.completions.create(**CUT, temperature=0, stream=True)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(d.content or "" for d in deltas) == ""
    streamed = "".join(getattr(d, "reasoning_content", None) or "" for d in deltas)
    assert streamed == message.reasoning_content


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_left_out_where_that_is_wanted(ai, stream):
    asked = CUT | {"extra_body": {"min_tokens": 12, "include_reasoning": False}}
    reply = ai.chat.completions.create(**asked, temperature=0, stream=stream)
    said = [c.choices[0].delta for c in reply] if stream else [reply.choices[0].message]
    assert not any(getattr(part, "reasoning_content", None) for part in said)
    assert "".join(part.content or "" for part in said) == ""
    if not stream:
        assert reply.usage.completion_tokens_details.reasoning_tokens == 12


def test_a_thought_goes_on_where_it_was_left(ai):
    """However long it is: the prompt ends far behind the tag that opened it."""
    thought = "<think>\nThe question is about France, and its capital is well known to be"
    reply = ai.chat.completions.create(
        model=SLUG, max_tokens=12, temperature=0,
        messages=[*HELLO, {"role": "assistant", "content": thought}],
        extra_body={"min_tokens": 12, "add_generation_prompt": False, "continue_final_message": True},
    )  # fmt: skip
    message = reply.choices[0].message
    assert message.content == ""
    assert message.reasoning_content.startswith(" ")


def test_the_answer_begins_where_the_thought_ends(ai, http):
    """A likelier </think> ends some of the choices' thoughts after a few tokens."""
    ends = http.post("/tokenize", json={"model": SLUG, "prompt": "</think>"}).json()["tokens"][0]

    def text_of(ids: list[int]) -> str:
        told = http.post("/detokenize", json={"model": SLUG, "tokens": ids})
        return told.json()["prompt"].strip()

    reply = ai.chat.completions.create(
        model=SLUG, messages=STORY, max_tokens=16, n=16, seed=1, temperature=1.5,
        logit_bias={str(ends): 5}, extra_body={"min_tokens": 16, "return_token_ids": True},
    )  # fmt: skip
    ended = 0
    for choice in reply.choices:
        ids = choice.token_ids
        place = ids.index(ends) if ends in ids else len(ids)
        if 0 < place < 15 and ids.count(ends) == 1:
            ended += 1
            assert choice.message.reasoning_content.strip() == text_of(ids[:place])
            assert choice.message.content.strip() == text_of(ids[place + 1 :])
    assert ended, "no thought ended by itself"


def test_a_template_that_closes_the_thought_leaves_the_answer(ai):
    quiet = {"chat_template_kwargs": {"enable_thinking": False}, "min_tokens": 12}
    reply = ai.chat.completions.create(**(CUT | {"extra_body": quiet}), temperature=0)
    message = reply.choices[0].message
    assert message.content
    assert not getattr(message, "reasoning_content", None)
    assert reply.usage.completion_tokens_details.reasoning_tokens == 0


# --- a short context ---


def test_the_default_length_of_an_answer_is_cut_to_the_room_left(http):
    body = {"model": SLUG, "prompt": [100] * (CONTEXT - 3), "ignore_eos": True}
    reply = http.post("/completions", json=body)
    assert reply.status_code == 200
    assert reply.json()["usage"]["completion_tokens"] == 3
    refused = http.post("/completions", json=body | {"max_tokens": 4})
    assert refused.json()["error"]["code"] == "context_length_exceeded"


def test_a_prompt_may_fill_the_context_if_nothing_is_made(http):
    prompt = [100] * CONTEXT
    asked = {"model": SLUG, "prompt": prompt, "echo": True, "max_tokens": 0}
    for more in ({}, {"logprobs": 0}, {"n": 2}):
        reply = http.post("/completions", json=asked | more)
        assert reply.status_code == 200, reply.text
        usage = reply.json()["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (CONTEXT, 0)
    scored = http.post("/completions", json=asked | {"logprobs": 0}).json()["choices"][0]
    assert len(scored["logprobs"]["token_logprobs"]) == CONTEXT
    assert None not in scored["logprobs"]["token_logprobs"][1:]
    for refused in (asked | {"max_tokens": 1}, asked | {"prompt": [*prompt, 100]}):
        error = http.post("/completions", json=refused).json()["error"]
        assert error["code"] == "context_length_exceeded"


# --- a vocabulary without a model ---


@pytest.mark.parametrize("prompt", ["GitHub Copilot", "naïve 👍", "a<|start|>b", ""])
def test_gpt_oss_counts_without_a_model(http, prompt):
    asked = {"model": "gpt-oss", "prompt": prompt, "return_token_strs": True}
    reply = http.post("/tokenize", json=asked).json()
    assert reply["max_model_len"] is None
    assert reply["count"] == len(reply["tokens"]) == len(reply["token_strs"])
    assert reply["count"] == len(prompt.replace("<|start|>", "_").encode())
    back = http.post("/detokenize", json={"model": "gpt-oss", "tokens": reply["tokens"]}).json()
    assert back["prompt"] == prompt.replace("<|start|>", "")


def test_gpt_oss_makes_no_answers(http):
    assert "gpt-oss" not in [model["id"] for model in http.get("/models").json()["data"]]
    for path, more in (
        ("/completions", {"prompt": "x"}),
        ("/chat/completions", {"messages": HELLO}),
    ):
        assert http.post(path, json={"model": "gpt-oss", **more}).status_code == 404


# --- one at a time ---


@pytest.mark.asyncio
async def test_a_stream_that_waits_beats_and_one_that_is_left_never_runs(streams, stack):
    await streams.until_alive(0)
    async with httpx.AsyncClient(timeout=30, headers=streams.headers) as client:
        async with client.stream("POST", streams.url, json=ENDLESS) as running:
            lines = running.aiter_lines()
            await anext(lines)
            before = time.monotonic()
            async with client.stream("POST", streams.url, json=ENDLESS) as waiting:
                assert waiting.status_code == 200
                beats = []
                async with aclosing(waiting.aiter_lines()) as comments:
                    async for line in comments:
                        beats += [line] if line else []
                        if len(beats) == 2:
                            break
                assert set(beats) == {": queued, place 1"}
                assert time.monotonic() - before < 4
                left = waiting.headers["x-request-id"]
                assert streams.alive() == 2
            await streams.until_alive(1, seconds=2)  # gone from the line, while the other runs
        await streams.until_alive(0, seconds=2)
    row = stack.row(left)
    assert row["state"] == "cancelled"
    assert row["started_us"] is None
    assert row["submitted_us"] is None or row["submitted_us"] > 0


def test_the_next_in_line_is_taken_up_at_once(ai):
    began = time.monotonic()
    ai.completions.create(model=SLUG, prompt="Once", max_tokens=1, n=10)
    assert time.monotonic() - began < 5  # a second each where nobody wakes the worker


# --- bounds ---


@pytest.mark.parametrize("length", ["Content-Length: 500", "Transfer-Encoding: chunked"])
def test_a_body_that_comes_too_slowly_is_a_408(stack, length):
    with socket.create_connection(("127.0.0.1", stack.port), timeout=5) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\n" + length.encode() + b"\r\n\r\n"
        )
        answer = b""
        began = time.monotonic()
        while part := connection.recv(4096):
            answer += part
            if b"}}" in answer:
                break
        assert 0.8 < time.monotonic() - began < 3
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"]["code"] == "body_too_slow"


# --- last: the worker goes, and comes back ---


def test_without_a_worker_it_is_a_503_until_there_is_one(stack, secret):
    headers = {"Authorization": f"Bearer {secret}"}

    def post(*, stream: bool) -> httpx.Response:
        body = {"model": SLUG, "prompt": "a", "max_tokens": 1, "stream": stream}
        return httpx.post(stack.url + "/v1/completions", json=body, headers=headers, timeout=30)

    stack.end("worker")
    deadline = time.monotonic() + 20
    while (refused := post(stream=True)).status_code != 503:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    for reply in (refused, post(stream=False)):
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.json()["error"]["code"] == "no_worker"
        assert reply.json()["error"]["type"] == "server_error"
    stack.start_worker()
    deadline = time.monotonic() + 60
    while (reply := post(stream=False)).status_code != 200:
        assert reply.status_code == 503
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert reply.json()["usage"]["completion_tokens"] == 1
