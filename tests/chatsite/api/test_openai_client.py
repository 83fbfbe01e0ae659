"""The official OpenAI client against the whole site: only the base URL is changed."""

from __future__ import annotations

import json
import math
import uuid

import openai
import pytest
from pydantic import BaseModel

from tests.support.stack import SLUG

pytestmark = pytest.mark.timeout(300)

HELLO = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


def test_models(ai):
    assert [model.id for model in ai.models.list()] == [SLUG]
    assert ai.models.retrieve(SLUG).owned_by == "chatsite"
    with pytest.raises(openai.NotFoundError) as caught:
        ai.models.retrieve("gpt-4")
    assert caught.value.code == "model_not_found"


def test_a_chat_completion(ai):
    reply = ai.chat.completions.create(
        model=SLUG, messages=HELLO, temperature=0, max_completion_tokens=24
    )
    choice = reply.choices[0]
    assert "Paris" in choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.id == f"chatcmpl-{reply._request_id}"
    timings = reply.timings
    assert timings["request_id"] == reply._request_id
    parts = timings["queue_ms"] + timings["prefill_ms"]
    assert math.isclose(timings["ttft_ms"], parts, abs_tol=0.01)


def test_a_stream_says_what_the_whole_reply_says(ai):
    asked = {"model": SLUG, "messages": HELLO, "temperature": 0, "max_tokens": 24}
    whole = ai.chat.completions.create(**asked)
    chunks = list(
        ai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    last = chunks[-1]
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert last.usage.prompt_tokens_details.cached_tokens >= 0
    assert last.timings["tpot_ms"] > 0


def test_the_first_turn_is_reused_by_the_second(ai):
    long = [{"role": "user", "content": "Read this: " + "one two three four five " * 60}]
    asked = {"model": SLUG, "max_tokens": 2, "temperature": 0}
    first = ai.chat.completions.create(**asked, messages=long)
    turns = [
        *long,
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "And now?"},
    ]
    second = ai.chat.completions.create(**asked, messages=turns)
    assert second.usage.prompt_tokens_details.cached_tokens >= 200


def test_seed_and_n(ai):
    asked = {"model": SLUG, "messages": HELLO, "max_tokens": 12, "temperature": 1.5, "seed": 7}
    once = ai.chat.completions.create(**asked, n=3)
    again = ai.chat.completions.create(**asked, n=3)
    texts = [choice.message.content for choice in once.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 1
    assert [choice.index for choice in once.choices] == [0, 1, 2]
    assert len(once.timings["choices"]) == 3
    assert once.usage.completion_tokens > again.usage.completion_tokens / 2


def test_a_stream_of_several_choices(ai):
    chunks = ai.chat.completions.create(
        model=SLUG, messages=HELLO, max_tokens=6, n=2, stream=True, seed=3
    )
    ends = [c.choices[0].index for c in chunks if c.choices and c.choices[0].finish_reason]
    assert sorted(ends) == [0, 1]


def test_stop_strings_are_never_shown(ai):
    reply = ai.completions.create(
        model=SLUG, prompt="1, 2, 3, 4,", temperature=0, max_tokens=30, stop=[" 7", "banana"]
    )
    assert reply.choices[0].text == " 5, 6,"
    assert reply.choices[0].finish_reason == "stop"


def test_chat_logprobs(ai):
    reply = ai.chat.completions.create(
        model=SLUG, messages=HELLO, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3
    )
    content = reply.choices[0].logprobs.content
    assert "".join(entry.token for entry in content) == reply.choices[0].message.content
    for entry in content:
        assert bytes(entry.bytes).decode() == entry.token
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob)  # greedy
        assert sum(math.exp(top.logprob) for top in entry.top_logprobs) <= 1.0001


def test_streamed_logprobs_are_those_of_the_whole_reply(ai):
    asked = {"model": SLUG, "messages": HELLO, "temperature": 0, "max_tokens": 8, "logprobs": True}
    whole = ai.chat.completions.create(**asked).choices[0].logprobs.content
    parts = [c.choices[0].logprobs for c in ai.chat.completions.create(**asked, stream=True)]
    streamed = [entry for part in parts if part for entry in part.content]
    assert [e.token for e in streamed] == [e.token for e in whole]


def test_logit_bias_forbids_and_forces(ai):
    free = ai.completions.create(
        model=SLUG, prompt="The capital of France is", temperature=0, max_tokens=1,
        extra_body={"return_token_ids": True},
    ).choices[0]  # fmt: skip
    token = free.token_ids[0]
    asked = {"model": SLUG, "prompt": "The capital of France is", "temperature": 0, "max_tokens": 1}
    forbidden = ai.completions.create(**asked, logit_bias={str(token): -100})
    assert forbidden.choices[0].text != free.text
    shown = {"return_token_ids": True}
    forced = ai.completions.create(**asked, logit_bias={"1000": 100}, extra_body=shown)
    assert forced.choices[0].token_ids == [1000]


class Person(BaseModel):
    name: str
    age: int


def test_structured_output(ai):
    reply = ai.chat.completions.parse(
        model=SLUG,
        messages=[{"role": "user", "content": "A person, please."}],
        response_format=Person,
        temperature=0,
        max_tokens=100,
    )
    assert isinstance(reply.choices[0].message.parsed, Person)


def test_a_json_object(ai):
    reply = ai.chat.completions.create(
        model=SLUG,
        messages=[{"role": "user", "content": 'Write {"colour": "red"} as JSON.'}],
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=200,
    )
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(reply.choices[0].message.content), dict)
    else:
        assert reply.choices[0].message.content.startswith("{")


def test_a_schema_that_cannot_be_followed_is_named(ai):
    with pytest.raises(openai.BadRequestError) as caught:
        ai.chat.completions.create(
            model=SLUG,
            messages=HELLO,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "nonsense"}},
            },
        )
    assert caught.value.param == "response_format"


def test_completions_echo_and_logprobs(ai):
    asked = {"model": SLUG, "prompt": "The capital of France is", "temperature": 0}
    reply = ai.completions.create(**asked, echo=True, logprobs=2, max_tokens=2)
    choice = reply.choices[0]
    logprobs = choice.logprobs
    assert choice.text.startswith("The capital of France is")
    assert logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert "".join(logprobs.tokens) == choice.text
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert choice.text[offset:].startswith(token)


def test_echo_alone_scores_a_prompt(ai):
    reply = ai.completions.create(
        model=SLUG, prompt="The capital of France is", echo=True, logprobs=1, max_tokens=0
    )
    assert reply.choices[0].text == "The capital of France is"
    assert len(reply.choices[0].logprobs.tokens) == 5
    assert reply.usage.completion_tokens == 0


def test_prompts_of_every_kind_and_in_lists(ai, http):
    ids = http.post("/tokenize", json={"model": SLUG, "prompt": "1, 2, 3,"}).json()["tokens"]
    asked = {"model": SLUG, "max_tokens": 3, "temperature": 0}
    text = ai.completions.create(prompt="1, 2, 3,", **asked).choices[0].text
    assert ai.completions.create(prompt=ids, **asked).choices[0].text == text
    several = ai.completions.create(prompt=["1, 2, 3,", "The sky is"], n=2, **asked)
    assert [c.index for c in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == several.choices[1].text == text
    assert several.choices[2].text != text
    assert ai.completions.create(prompt=[ids, ids], **asked).choices[1].text == text


def test_extras_of_vllm(ai):
    reply = ai.completions.create(
        model=SLUG,
        prompt="Hello",
        max_tokens=20,
        extra_body={
            "ignore_eos": True,
            "min_tokens": 20,
            "top_k": 5,
            "min_p": 0.05,
            "repetition_penalty": 1.1,
        },
    )
    assert reply.usage.completion_tokens == 20
    assert reply.choices[0].finish_reason == "length"


def test_a_preset_by_name(ai):
    asked = {"model": SLUG, "messages": HELLO, "max_tokens": 10, "extra_body": {"preset": "greedy"}}
    texts = {ai.chat.completions.create(**asked).choices[0].message.content for _ in range(2)}
    assert len(texts) == 1


def test_errors_are_the_clients_own_kinds(ai, stack):
    with pytest.raises(openai.BadRequestError) as caught:
        ai.chat.completions.create(model=SLUG, messages=HELLO, temperature=3)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="Unrecognized request argument"):
        ai.chat.completions.create(model=SLUG, messages=HELLO, extra_body={"foo": 1})
    with pytest.raises(openai.NotFoundError):
        ai.chat.completions.create(model="gpt-4", messages=HELLO)
    long = [{"role": "user", "content": "word " * 9000}]
    with pytest.raises(openai.BadRequestError, match=r"8192 tokens.*9\d\d\d tokens"):
        ai.chat.completions.create(model=SLUG, messages=long)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=stack.url + "/v1", api_key="sk-wrong").models.list()


def test_the_request_is_in_the_same_statistics(ai, stack):
    reply = ai.chat.completions.create(model=SLUG, messages=HELLO, max_tokens=4)
    request_id = str(uuid.UUID(reply._request_id))
    row = stack.row(request_id)
    assert row["source"] == "api"
    assert row["api_key"].startswith("sk-chat-")
    assert row["state"] in ("stop", "length")
    assert row["ttft_us"] / 1000 == pytest.approx(reply.timings["ttft_ms"], abs=0.001)
    assert row["decode_us"] / 1000 == pytest.approx(reply.timings["decode_ms"], abs=0.001)
