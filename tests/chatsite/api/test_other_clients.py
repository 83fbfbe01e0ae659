"""What other clients of OpenAI's API send, against the whole site: histories, forms and HTTP's edges."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from django.conf import settings

from tests.support.stack import APP, SLUG

pytestmark = pytest.mark.timeout(300)

HELLO = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
CALL = {
    "id": "call_1", "type": "function", "index": 0,
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}  # fmt: skip


def chatted(http: httpx.Client, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    body = {"model": SLUG, "messages": messages, "max_tokens": 4, "temperature": 0, **more}
    reply = http.post("/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def prompt_of(http: httpx.Client, messages: list[dict[str, Any]]) -> str:
    """The prompt that the model gets, control tokens left out."""
    ids = chatted(http, messages, return_token_ids=True)["prompt_token_ids"]
    return http.post("/detokenize", json={"model": SLUG, "tokens": ids}).json()["prompt"]


# --- histories ---


@pytest.mark.parametrize("content", [{"content": None}, {"content": ""}, {}, {"content": []}])
def test_a_history_with_tools_goes_on(http, content):
    messages = [
        *HELLO,
        {"role": "assistant", **content, "tool_calls": [CALL], "function_call": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
    ]
    prompt = prompt_of(http, messages)
    assert '{"name": "weather", "arguments": {"city": "Paris"}}' in prompt
    assert "21 degrees" in prompt


def test_the_official_clients_own_messages_go_on(ai):
    first = ai.chat.completions.create(model=SLUG, messages=HELLO, max_tokens=4)
    message = first.choices[0].message
    for sent_back in (message, message.model_dump(), {**message.model_dump(), "id": "msg_1"}):
        turns = [*HELLO, sent_back, {"role": "user", "content": "And of Spain?"}]
        again = ai.chat.completions.create(model=SLUG, messages=turns, max_tokens=4)
        assert again.usage.completion_tokens > 0


def test_the_older_functions_go_on_too(http):
    messages = [
        *HELLO,
        {"role": "assistant", "function_call": {"name": "weather", "arguments": "not JSON"}},
        {"role": "function", "name": "weather", "content": None},
        {"role": "user", "content": [{"type": "text", "text": "So?", "cache_control": {"a": 1}}]},
    ]
    prompt = prompt_of(http, messages)
    assert '{"name": "weather", "arguments": "not JSON"}' in prompt
    assert "</tool_response>\nSo?" in prompt


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"content": None}, ""),
        ({"content": None, "refusal": "I'd rather not."}, "I'd rather not."),
        ({"content": [{"type": "refusal", "refusal": "I'd rather not."}]}, "I'd rather not."),
        ({"content": "Yes.", "refusal": None, "annotations": [], "audio": {"id": "x"}}, "Yes."),
        ({"content": "Yes.", "reasoning": "Hm.", "reasoning_content": "Hm.", "id": "m"}, "Yes."),
        ({"content": "Yes.", "thinking_blocks": [{}], "provider_specific_fields": {}}, "Yes."),
    ],
)
def test_an_earlier_answer_may_be_absent_or_refused_or_have_extras(http, answer, said):
    turns = [*HELLO, {"role": "assistant", **answer}, {"role": "user", "content": "Go on."}]
    prompt = prompt_of(http, turns)
    assert f"assistant\n{said}\n" in prompt
    assert "Hm." not in prompt


def test_a_tool_choice_of_none_changes_nothing(http):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    plain = chatted(http, HELLO, max_tokens=12)
    quiet = chatted(http, HELLO, max_tokens=12, tools=tools, tool_choice="none")
    assert quiet["choices"][0]["message"] == plain["choices"][0]["message"]
    assert quiet["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
    body = {"model": SLUG, "messages": HELLO, "tools": tools}
    refused = http.post("/chat/completions", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("Tools aren't served yet")


# --- forms ---


def test_a_schema_of_another_spelling_is_kept(http):
    for form in (
        {"type": "json_object", "schema": {"const": 2**53 + 1}},
        {"type": "json_schema", "schema": {"const": 2**53 + 1}},
    ):
        reply = chatted(http, HELLO, response_format=form, max_tokens=40)
        assert reply["choices"][0]["message"]["content"] == str(2**53 + 1)


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_object", "schema": {"$ref": "#"}}},
        {"structured_outputs": {"regex": "[^\\s\\S]"}},
        {"structured_outputs": {"grammar": "start: start"}},
    ],
)
def test_a_form_that_nothing_fits_is_refused_at_once(http, form):
    body = {"model": SLUG, "messages": HELLO, "max_tokens": 8, **form}
    for stream in (False, True):
        reply = http.post("/chat/completions", json=body | {"stream": stream})
        assert reply.status_code == 400, reply.text
        assert "nothing fits it" in reply.json()["error"]["message"]


def test_the_ends_of_64_bits_do_not_end_the_worker(http):
    for bounds in ({"const": -(2**63)}, {"minimum": -(2**63), "maximum": 2**63 - 1}):
        schema = {"type": "integer", **bounds}
        chatted(http, HELLO, response_format={"type": "json_object", "schema": schema})
    assert chatted(http, HELLO)["usage"]["completion_tokens"] > 0


# --- one text, told twice ---


@pytest.mark.parametrize("shows_stop", [True, False])
@pytest.mark.parametrize("stop", [None, [", 7", "7,"], ["6, "], ["é"]])
def test_a_stream_has_the_tokens_and_offsets_of_the_whole_reply(http, stop, shows_stop):
    body = {
        "model": SLUG, "prompt": "é 1, 2, 3, 4,", "temperature": 0, "max_tokens": 12, "logprobs": 1,
        "stop": stop, "include_stop_str_in_output": shows_stop, "return_token_ids": True,
    }  # fmt: skip
    whole = http.post("/completions", json=body).json()["choices"][0]
    lines = http.post("/completions", json=body | {"stream": True}).text.splitlines()
    parts = [json.loads(line[6:])["choices"] for line in lines if line.startswith("data: {")]
    choices = [choice for part in parts for choice in part]
    assert "".join(choice["text"] for choice in choices) == whole["text"]
    assert [i for choice in choices for i in choice["token_ids"]] == whole["token_ids"]
    for column in ("tokens", "text_offset"):
        told = [v for c in choices if c["logprobs"] for v in c["logprobs"][column]]
        assert told == whole["logprobs"][column]
    assert "".join(whole["logprobs"]["tokens"]).startswith(whole["text"])


def test_an_echo_has_offsets_of_what_was_written(http):
    asked = {"model": SLUG, "prompt": "<|im_start|>é中 x", "echo": True, "logprobs": 0,
             "max_tokens": 2, "temperature": 0}  # fmt: skip
    choice = http.post("/completions", json=asked).json()["choices"][0]
    logprobs = choice["logprobs"]
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        if not token.startswith("bytes:"):
            assert choice["text"][offset:].startswith(token)


# --- the edges of HTTP ---


def test_line_separators_are_escaped_in_events(http):
    odd = "a\u2028b\u2029c\u0085d"
    body = {"model": SLUG, "prompt": odd, "echo": True, "max_tokens": 1, "stream": True}
    reply = http.post("/completions", json=body)
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line[6:7] == "{"]
    assert "".join(c["text"] for e in events for c in e["choices"]).startswith(odd)
    assert not set(odd) & {"\u2028", "\u2029", "\u0085"} & set(reply.text)


def test_a_head_is_a_get_without_its_body(http):
    for path in ("/models", f"/models/{SLUG}", "/openapi.json"):
        reply, full = http.head(path), http.get(path)
        assert (reply.status_code, reply.content) == (200, b"")
        assert reply.headers["content-type"] == full.headers["content-type"]
    assert http.head("/models/none").status_code == 404
    assert http.head("/chat/completions").headers["allow"] == "POST"
    assert http.post("/models").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/chat/completions", "//v1/chat/completions", "/api/v1/models", "/completions"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_program_beside_v1_gets_json(stack, secret, path, method):
    headers = {"Authorization": f"Bearer {secret}"}
    reply = httpx.request(method, stack.url + path, headers=headers, timeout=30)
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert (error["code"], "ends in /v1" in error["message"]) == ("unknown_url", True)
    json_alone = httpx.post(stack.url + path, json={}, timeout=30)
    assert json_alone.json()["error"]["code"] == "unknown_url"


def test_a_person_beside_v1_gets_the_page(stack):
    reply = httpx.get(stack.url + "/nothing", headers={"Accept": "text/html"}, timeout=30)
    assert (reply.status_code, reply.headers["content-type"][:9]) == (404, "text/html")


@pytest.mark.parametrize("path", ["/responses", "/responses/abc", "/embeddings"])
def test_what_is_not_served_yet_says_just_that(http, path):
    reply = http.post(path, json={"model": SLUG, "input": "x"})
    assert reply.status_code == 404
    assert "isn't served" in reply.json()["error"]["message"]


def test_pages_of_named_origins_may_call(stack, secret):
    url = stack.url + "/v1/chat/completions"
    asks = {"Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, x-stainless-lang"}  # fmt: skip
    for origin in (APP, "http://localhost:3000"):
        first = httpx.options(url, headers={"Origin": origin, **asks}, timeout=30)
        assert first.status_code == 204
        assert first.headers["access-control-allow-origin"] == origin
        assert (
            first.headers["access-control-allow-headers"] == asks["Access-Control-Request-Headers"]
        )
        assert "POST" in first.headers["access-control-allow-methods"]
        for key in (secret, "wrong"):
            headers = {"Origin": origin, "Authorization": f"Bearer {key}"}
            reply = httpx.get(stack.url + "/v1/models", headers=headers, timeout=30)
            assert reply.headers["access-control-allow-origin"] == origin
            assert "x-request-id" in reply.headers["access-control-expose-headers"]
    other = httpx.options(url, headers={"Origin": "https://evil.example", **asks}, timeout=30)
    assert other.status_code == 405
    assert "access-control-allow-origin" not in other.headers
    assert "Origin" in other.headers["vary"]


def test_no_origin_may_call_unless_named():
    assert settings.API_CORS_ORIGINS == []


def test_replies_are_not_kept(http):
    assert http.get("/models").headers["cache-control"] == "no-store"
