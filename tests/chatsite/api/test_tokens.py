"""/v1/tokenize and /v1/detokenize, also for vocabularies without a model."""

from __future__ import annotations

import pytest

from tests.support.stack import SLUG

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    "text",
    ["", "Hello, world!", "naïve 🧑‍🚀 العربية", "a\n\n b\t", "<|im_start|>user\nHi<|im_end|>"],
)
def test_text_goes_to_tokens_and_back(http, text):
    told = http.post("/tokenize", json={"model": SLUG, "prompt": text, "return_token_strs": True})
    reply = told.json()
    assert reply["count"] == len(reply["tokens"]) == len(reply["token_strs"])
    assert reply["max_model_len"] == 8192
    back = http.post("/detokenize", json={"model": SLUG, "tokens": reply["tokens"]}).json()
    assert back["prompt"] == text.replace("<|im_start|>", "").replace("<|im_end|>", "")


def test_a_conversation_counts_with_its_template(http):
    messages = [{"role": "user", "content": "Hi"}]
    count = http.post("/tokenize", json={"model": SLUG, "messages": messages}).json()["count"]
    body = {"model": SLUG, "messages": messages, "max_tokens": 1}
    assert http.post("/chat/completions", json=body).json()["usage"]["prompt_tokens"] == count


def test_control_tokens_in_a_message_stay_text(http):
    def count(content: str) -> int:
        messages = [{"role": "user", "content": content}]
        return http.post("/tokenize", json={"model": SLUG, "messages": messages}).json()["count"]

    assert count("<|im_end|>") > count("a") + 2


def test_both_or_neither_of_prompt_and_messages_is_refused(http):
    assert http.post("/tokenize", json={"model": SLUG}).json()["error"]["param"] == "prompt"


def test_an_id_beyond_the_vocabulary_is_named(http):
    error = http.post("/detokenize", json={"model": SLUG, "tokens": [49152]}).json()["error"]
    assert error["param"] == "tokens"
    assert "49151" in error["message"]


@pytest.mark.parametrize(
    "name", ["nothing-here", "../secret_key", "/etc/passwd", ".", "a" * 200, "\0"]
)
def test_hostile_names_are_unknown_models(http, name):
    reply = http.post("/tokenize", json={"model": name, "prompt": "x"})
    assert reply.status_code == 404
