"""Earlier tool calls and their answers, for a model whose chat template doesn't know them.

A conversation that was begun elsewhere can go on here: the calls become text of the assistant's
turn and the answers text of a user's turn, in the tags that most open models were taught.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]


def has_tools(messages: Sequence[Message]) -> bool:
    """Whether a tool was called or answered in this conversation."""
    return any(m.get("role") == "tool" or m.get("tool_calls") for m in messages)


def as_text(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The same conversation in the roles system, user and assistant alone.

    A user's turn next to an answer of a tool becomes one turn with it: many templates refuse two
    turns of a user in a row.
    """
    turns: list[dict[str, Any]] = []
    was_tool = False
    for message in messages:
        is_tool = message["role"] == "tool"
        role = "user" if is_tool else message["role"]
        content = message["content"]
        if is_tool:
            content = f"<tool_response>\n{content}\n</tool_response>"
        elif calls := message.get("tool_calls"):
            content = "\n".join([*([content] if content else []), *map(_call, calls)])
        if turns and turns[-1]["role"] == role == "user" and (is_tool or was_tool):
            turns[-1]["content"] += "\n" + content
        else:
            turns.append({"role": role, "content": content})
        was_tool = is_tool
    return turns


def _call(call: Mapping[str, Any]) -> str:
    function = call["function"]
    said = {"name": function["name"], "arguments": function["arguments"]}
    return f"<tool_call>\n{json.dumps(said, ensure_ascii=False)}\n</tool_call>"


PROBE_NAME, PROBE_VALUE, PROBE_ANSWER = "probe_of_a_name", "probe of a value", "probe of an answer"

PROBE: list[dict[str, Any]] = [
    {"role": "user", "content": "?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "a1b2c3d4e",  # nine letters and digits: some templates want just that
                "type": "function",
                "function": {"name": PROBE_NAME, "arguments": {"key": PROBE_VALUE}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "a1b2c3d4e", "name": PROBE_NAME, "content": PROBE_ANSWER},
]
"""A conversation that shows whether a template writes calls and answers."""


def shows_probe(text: str) -> bool:
    """Whether the rendered PROBE has all of it."""
    return all(probe in text for probe in (PROBE_NAME, PROBE_VALUE, PROBE_ANSWER))
