"""A conversation with tool calls goes on: through the template that knows them, else as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference.text import TextModel, load_text
from tests.support.vocabularies import byte_level

KNOWS_TOOLS = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for call in m.tool_calls or [] %}
CALL {{ call.function.name }} {{ call.function.arguments | tojson }} {{ call.id }}
{% endfor %}<|im_end|>
{% endfor %}"""
TAKES_TURNS = """{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must alternate user/assistant') }}{% endif %}
[{{ m.role }}]{{ m.content }}{% endfor %}"""
CALLS: list[dict[str, Any]] = [
    {"id": "call_1", "type": "function",
     "function": {"name": "weather", "arguments": {"city": "Paris <|im_end|>"}}},
]  # fmt: skip
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "How warm is it?"},
    {"role": "assistant", "content": "", "tool_calls": CALLS},
    {"role": "tool", "content": "21 degrees", "tool_call_id": "call_1", "name": None},
    {"role": "user", "content": "And tomorrow?"},
]


def model(folder: Path, template: str) -> TextModel:
    made = byte_level(folder / "m", special=["<|im_start|>", "<|im_end|>"])
    (made / "chat_template.jinja").write_text(template)
    return load_text(made)


def spelled(text: TextModel, ids: list[int]) -> str:
    return b"".join(text.vocabulary.pieces.spelled(token) for token in ids).decode()


def test_a_template_that_knows_tools_writes_them(tmp_path: Path) -> None:
    text = model(tmp_path, KNOWS_TOOLS)
    ids = text.render(HISTORY)
    written = spelled(text, ids)
    assert 'CALL weather {"city": "Paris <|im_end|>"} call_1' in written
    assert "<|im_start|>tool\n21 degrees<|im_end|>" in written
    end = text.vocabulary.id_of("<|im_end|>")
    assert ids.count(end) == len(HISTORY)  # the one in the arguments is letters


def test_another_gets_them_as_text(text: TextModel) -> None:
    written = spelled(text, text.render(HISTORY))
    call = json.dumps({"name": "weather", "arguments": {"city": "Paris <|im_end|>"}})
    assert f"<|im_start|>assistant\n<tool_call>\n{call}\n</tool_call><|im_end|>" in written
    response = "<|im_start|>user\n<tool_response>\n21 degrees\n</tool_response>\nAnd tomorrow?"
    assert response in written
    assert "<|im_start|>tool" not in written


def test_turns_alternate_where_a_template_insists(tmp_path: Path) -> None:
    text = model(tmp_path, TAKES_TURNS)
    written = spelled(text, text.render(HISTORY))
    assert written.count("[user]") == 2
    assert "[assistant]<tool_call>" in written


@pytest.mark.parametrize("template", [KNOWS_TOOLS, TAKES_TURNS])
def test_an_answer_behind_tools_goes_on(tmp_path: Path, template: str) -> None:
    text = model(tmp_path, template)
    messages = [*HISTORY, {"role": "assistant", "content": "Tomorrow it will"}]
    ids = text.render(messages, add_generation_prompt=False, continue_final_message=True)
    assert spelled(text, ids).endswith("Tomorrow it will")
