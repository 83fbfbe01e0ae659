"""vLLM's extras by the same names, against the whole site: what they do, and how they are refused."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.support.stack import SLUG

pytestmark = pytest.mark.timeout(300)

HELLO = [{"role": "user", "content": "Is the sky blue? Answer yes or no."}]
COUNT = {"model": SLUG, "prompt": "1, 2, 3, 4,", "temperature": 0, "max_tokens": 12}


def completed(http: httpx.Client, **more) -> dict:
    reply = http.post("/completions", json=COUNT | more)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


def chatted(http: httpx.Client, **more) -> dict:
    body = {"model": SLUG, "messages": HELLO, "temperature": 0, "max_tokens": 40}
    reply = http.post("/chat/completions", json=body | more)
    assert reply.status_code == 200, reply.text
    return reply.json()


def tokens_of(http: httpx.Client, text: str) -> list[int]:
    return http.post("/tokenize", json={"model": SLUG, "prompt": text}).json()["tokens"]


def events_of(http: httpx.Client, path: str, body: dict) -> list[dict]:
    lines = http.post(path, json={**body, "stream": True}).text.splitlines()
    assert lines[-2] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


# --- forms ---


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"structured_outputs": {"regex": "[0-9]{3}-[0-9]{4}"}}, "[0-9]{3}-[0-9]{4}"),
        ({"structured_outputs": {"choice": ["maybe", 'a "b"\n', "nö"]}}, 'maybe|a "b"\n|nö'),
        (
            {"structured_outputs": {"grammar": 'root ::= "x"+ "y"'}, "logit_bias": {"105": 100}},
            "x+y",
        ),
        ({"structured_outputs": {"json": {"enum": ["red"]}}}, '"red"'),
        ({"structured_outputs": {"json_object": True}}, r"\{.*"),
        ({"guided_regex": "(ja|nein)!"}, "(ja|nein)!"),
        ({"guided_choice": ["yes", "no"]}, "yes|no"),
        ({"guided_grammar": 'start: "a" | "b"'}, "a|b"),
        ({"guided_json": '{"type": "boolean"}'}, "true|false"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_an_answer_keeps_its_form(http, asked, fits):
    reply = chatted(http, **asked)["choices"][0]
    assert re.fullmatch(fits, reply["message"]["content"], re.DOTALL)


def test_a_streamed_form_is_that_of_the_whole_reply(http):
    body = {"model": SLUG, "messages": HELLO, "temperature": 0, "max_tokens": 60,
            "structured_outputs": {"regex": "(yes|no), because [a-z ]{5,20}[.]"}}  # fmt: skip
    whole = http.post("/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    events = events_of(http, "/chat/completions", body)
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == whole
    assert re.fullmatch(body["structured_outputs"]["regex"], whole)


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"structured_outputs": {"regex": "(["}}, "structured_outputs.regex", "bad_schema"),
        ({"structured_outputs": {"grammar": "no ::"}}, "structured_outputs.grammar", "bad_schema"),
        ({"structured_outputs": {"json": {"type": "x"}}}, "structured_outputs.json", "bad_schema"),
        ({"structured_outputs": {"json": "[1]"}}, "structured_outputs.json", "invalid_json_schema"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", "empty_array"),
        ({"structured_outputs": {"choice": [1]}}, "structured_outputs.choice[0]", "invalid_type"),
        ({"structured_outputs": {}}, "structured_outputs", "invalid_value"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "invalid_value"),
        ({"structured_outputs": {"regex": "a"}, "guided_regex": "b"}, "guided_regex", "invalid_value"),
        ({"guided_regex": "(["}, "guided_regex", "bad_schema"),
        ({"guided_regex": 5}, "guided_regex", "invalid_type"),
        ({"guided_choice": "yes"}, "guided_choice", "invalid_type"),
        ({"stop_token_ids": [49152]}, "stop_token_ids[0]", "invalid_value"),
        ({"stop_token_ids": ["a"]}, "stop_token_ids[0]", "invalid_type"),
        ({"stop_token_ids": 3}, "stop_token_ids", "invalid_type"),
        ({"allowed_token_ids": []}, "allowed_token_ids", "empty_array"),
        ({"allowed_token_ids": [1, 99999]}, "allowed_token_ids[1]", "invalid_value"),
        ({"bad_words": [""]}, "bad_words[0]", "empty_string"),
        ({"bad_words": [3]}, "bad_words[0]", "invalid_type"),
        ({"prompt_logprobs": 21}, "prompt_logprobs", "integer_above_max_value"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", "invalid_value"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "invalid_value"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens", "integer_below_min_value"),
        ({"truncate_prompt_tokens": 9000}, "truncate_prompt_tokens", "integer_above_max_value"),
        ({"continue_final_message": True}, "continue_final_message", "invalid_value"),
        ({"add_generation_prompt": 1}, "add_generation_prompt", "invalid_type"),
        ({"priority": 1001}, "priority", "integer_above_max_value"),
        ({"cache_salt": ""}, "cache_salt", "empty_string"),
        ({"skip_special_tokens": "no"}, "skip_special_tokens", "invalid_type"),
        ({"allowed_token_ids": [2], "min_tokens": 2, "max_tokens": 4}, None, "nothing_allowed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(http, more, param, code):
    body = {"model": SLUG, "messages": HELLO, "max_tokens": 8, **more}
    reply = http.post("/chat/completions", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, param, code), error


# --- tokens that may come, and tokens that end ---


def test_a_stop_token_ends_the_answer_and_is_told(http):
    seven = tokens_of(http, " 7")[-1]
    plain = completed(http, return_token_ids=True)
    assert seven in plain["token_ids"]
    ended = completed(http, stop_token_ids=[seven], return_token_ids=True)
    assert (ended["finish_reason"], ended["stop_reason"]) == ("stop", seven)
    assert plain["text"].startswith(ended["text"])
    assert "7" not in ended["text"]
    assert ended["token_ids"] == plain["token_ids"][: plain["token_ids"].index(seven) + 1]
    shown = completed(http, stop_token_ids=[seven], include_stop_str_in_output=True)
    assert (
        shown["text"]
        == ended["text"]
        + http.post("/detokenize", json={"model": SLUG, "tokens": [seven]}).json()["prompt"]
    )


def test_a_stop_string_is_shown_where_that_is_wanted(http):
    hidden = completed(http, stop=[" 7"], return_token_ids=True)
    shown = completed(http, stop=[" 7"], include_stop_str_in_output=True)
    assert (hidden["text"], shown["text"]) == (" 5, 6,", " 5, 6, 7")
    assert hidden["stop_reason"] == shown["stop_reason"] == " 7"
    told = http.post("/detokenize", json={"model": SLUG, "tokens": hidden["token_ids"]}).json()
    assert told["prompt"].startswith(" 5, 6, 7")  # the tokens that were made are all told
    body = COUNT | {"stop": [" 7"], "include_stop_str_in_output": True}
    events = events_of(http, "/completions", body)
    assert "".join(e["choices"][0]["text"] for e in events) == " 5, 6, 7"
    assert events[-1]["choices"][0]["stop_reason"] == " 7"


def test_bad_words_are_never_written(http):
    assert "7" in completed(http)["text"]
    for words in (["7"], [" 7"], ["6, 7"]):
        text = completed(http, bad_words=words, max_tokens=30)["text"]
        assert words[0].strip() not in text


def test_only_allowed_tokens_are_written(http):
    allowed = tokens_of(http, " yes no")
    reply = completed(http, allowed_token_ids=allowed, return_token_ids=True, logprobs=2)
    assert set(reply["token_ids"]) <= set(allowed)
    assert reply["logprobs"]["token_logprobs"][0] < -1  # under the raw distribution


# --- ids and log-probabilities ---


def test_the_end_token_and_the_prompt_are_among_the_ids(http):
    asked = {"model": SLUG, "messages": HELLO}
    prompt = http.post("/tokenize", json=asked).json()["tokens"]
    reply = chatted(http, return_token_ids=True, max_tokens=100)
    choice = reply["choices"][0]
    assert reply["prompt_token_ids"] == prompt
    assert choice["finish_reason"] == "stop"
    assert choice["token_ids"][-1] == 2
    assert len(choice["token_ids"]) == reply["usage"]["completion_tokens"]
    body = {**asked, "temperature": 0, "max_tokens": 100, "return_token_ids": True}
    events = events_of(http, "/chat/completions", body)
    streamed = [i for e in events for c in e["choices"] for i in c["token_ids"]]
    assert streamed == choice["token_ids"]
    assert [e["prompt_token_ids"] for e in events if "prompt_token_ids" in e] == [prompt]
    completion = completed(http, return_token_ids=True)
    assert completion["prompt_token_ids"] == tokens_of(http, COUNT["prompt"])


def test_special_tokens_are_spelled_out_where_that_is_wanted(http):
    asked = {"logit_bias": {"2": 100}, "ignore_eos": True, "max_tokens": 2}
    assert completed(http, **asked)["text"] == ""
    shown = completed(http, **asked, skip_special_tokens=False, logprobs=0)
    assert shown["text"] == "<|im_end|><|im_end|>"
    assert shown["logprobs"]["text_offset"] == [0, len("<|im_end|>")]


def test_prompt_logprobs_are_those_of_echo(http):
    prompt = "The capital of France is"
    ids = tokens_of(http, prompt)
    asked = {"prompt": prompt, "max_tokens": 1}
    scores = completed(http, **asked, prompt_logprobs=2)["prompt_logprobs"]
    echoed = completed(http, **asked, echo=True, logprobs=2)["logprobs"]["token_logprobs"]
    assert scores[0] is None
    assert len(scores) == len(ids)
    for token, entries, expected in zip(ids[1:], scores[1:], echoed[1:], strict=False):
        assert entries[str(token)]["logprob"] == pytest.approx(expected, abs=1e-4)
        assert 2 <= len(entries) <= 3
        assert sorted(e["rank"] for e in entries.values() if e["rank"]) == [1, 2]
    reply = chatted(http, prompt_logprobs=0, n=2, max_tokens=1)
    assert len(reply["prompt_logprobs"]) == reply["usage"]["prompt_tokens"]


def test_tokens_are_named_by_id_where_that_is_wanted(http):
    reply = completed(http, logprobs=2, return_tokens_as_token_ids=True, return_token_ids=True)
    names = [f"token_id:{token}" for token in reply["token_ids"]]
    assert reply["logprobs"]["tokens"] == names
    assert all(
        name in top for name, top in zip(names, reply["logprobs"]["top_logprobs"], strict=True)
    )
    entries = chatted(http, logprobs=True, top_logprobs=1, return_tokens_as_token_ids=True)
    for entry in entries["choices"][0]["logprobs"]["content"]:
        assert entry["token"] == entry["top_logprobs"][0]["token"]
        assert re.fullmatch(r"token_id:\d+", entry["token"])


# --- the prompt ---


def test_a_prompt_is_truncated_at_the_wanted_side(http):
    ids = tokens_of(http, "one two three four five six seven eight")
    for side, kept in (("left", ids[-3:]), ("right", ids[:3])):
        asked = {"truncate_prompt_tokens": 3, "truncation_side": side, "return_token_ids": True}
        assert completed(http, prompt=ids, **asked)["prompt_token_ids"] == kept
    long = "word " * 9000
    at_once = {"max_tokens": 8000, "allowed_token_ids": [2]}  # its end: nothing else may be written
    asked = COUNT | {"prompt": long, "truncate_prompt_tokens": -1} | at_once
    assert http.post("/completions", json=asked).json()["usage"]["prompt_tokens"] == 8192 - 8000
    assert http.post("/completions", json=COUNT | {"prompt": long}).status_code == 400


def test_an_answer_goes_on_with_the_last_message(http):
    messages = [*HELLO, {"role": "assistant", "content": "Yes, the sky is"}]
    open_end = {"add_generation_prompt": False, "continue_final_message": True}
    asked = {"messages": messages, "max_tokens": 6, **open_end}
    went_on = chatted(http, **asked)
    content = went_on["choices"][0]["message"]["content"]
    assert content.startswith(" ")
    echoed = chatted(http, **asked, echo=True)["choices"][0]["message"]["content"]
    assert echoed == "Yes, the sky is" + content
    body = {"model": SLUG, "messages": messages}
    closed = http.post("/tokenize", json=body | {"add_generation_prompt": False}).json()
    left_open = http.post("/tokenize", json=body | open_end).json()["tokens"]
    assert closed["tokens"][: len(left_open)] == left_open
    assert 2 in closed["tokens"][len(left_open) :]
    assert went_on["usage"]["prompt_tokens"] == len(left_open)


def test_a_salt_keeps_what_is_cached_apart(http):
    prompt = "A salted prompt: " + "one two three four five " * 40

    def cached(salt: str) -> int:
        body = COUNT | {"prompt": prompt, "max_tokens": 1, "cache_salt": salt}
        usage = http.post("/completions", json=body).json()["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"]

    assert (cached("mine"), cached("yours")) == (0, 0)
    assert cached("mine") > 100
