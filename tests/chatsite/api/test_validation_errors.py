"""What a caller is told about a wrong body: OpenAI's words, code, and the parameter at fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chatsite.api.error_responses import ApiError
from chatsite.api.http.validation_errors import api_error_of
from chatsite.api.schemas.chat_completions import ChatBody
from chatsite.api.schemas.text_completions import CompletionBody

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def told(body: Any, kind: type = ChatBody) -> ApiError:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(body)
    return api_error_of(caught.value, body)


@pytest.mark.parametrize(
    ("more", "param", "code", "words"),
    [
        ({"temperature": "1"}, "temperature", "invalid_type",
         "expected a decimal number, but got a string instead"),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value",
         "Expected a value <= 2, but got 2.5 instead"),
        ({"n": 0}, "n", "integer_below_min_value", "Expected a value >= 1, but got 0 instead"),
        ({"n": True}, "n", "invalid_type", "expected an integer, but got a boolean instead"),
        ({"n": 1.5}, "n", "invalid_type", "expected an integer, but got a decimal number instead"),
        ({"n": 10**4000}, "n", "integer_above_max_value", "a number of more than 30 digits"),
        ({"max_tokens": 2**31}, "max_tokens", "integer_above_max_value", "<= 1000000"),
        ({"stop": 3}, "stop", "invalid_type", "expected one of a string or an array"),
        ({"stop": ["a", 3]}, "stop[1]", "invalid_type", "expected a string, but got an integer"),
        ({"stop": [""]}, "stop[0]", "empty_string", "empty string"),
        ({"stop": ["a"] * 17}, "stop", "array_above_max_length", "maximum length 16"),
        ({"stop": "x" * 10_000_000}, "stop", "string_above_max_length", "maximum length 256"),
        ({"messages": []}, "messages", "empty_array", "minimum length 1"),
        ({"messages": "x"}, "messages", "invalid_type", "expected an array, but got a string"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter",
         "Missing required parameter: 'messages[0].content'."),
        ({"messages": [{"role": "x", "content": ""}]}, "messages[0].role", "invalid_value",
         "'system', 'developer', 'user', 'assistant', 'tool' or 'function'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "messages[0].content[0].type", "invalid_value", "Supported values are: 'text'"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type",
         "expected one of a string or an array, but got null instead"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "empty_array",
         "minimum length 1"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
         "messages[0].tool_calls[0].function", "missing_required_parameter", "Missing"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
         "messages[0].tool_calls[0].function.name", "missing_required_parameter", "Missing"),
        ({"stream_options": {"foo": 1}}, "stream_options.foo", "unknown_parameter", "Unknown"),
        ({"stream_options": {}}, "stream_options", "invalid_value", "when 'stream' is true"),
        ({"response_format": {}}, "response_format.type", "missing_required_parameter", "Missing"),
        ({"response_format": {"type": "x"}}, "response_format.type", "invalid_value", "'text'"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5", "integer_above_max_value", "<= 100"),
        ({"top_logprobs": 3}, "top_logprobs", "invalid_value", "'logprobs' must be true"),
        ({"tools": [{}]}, "tools", "invalid_value", "Tools aren't served yet: leave 'tools' out"),
        ({"tools": [{}], "tool_choice": "auto"}, "tools", "invalid_value", "Tools aren't served yet"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value", "Tools aren't served yet"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice",
         "invalid_value", "Tools aren't served yet"),
        ({"functions": [{}], "function_call": "auto"}, "functions", "invalid_value", "'functions'"),
        ({"stop": ""}, "stop", "empty_string", "Invalid 'stop': empty string"),
        ({"stop": ["a", ""]}, "stop[1]", "empty_string", "Invalid 'stop[1]': empty string"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema",
         "missing_required_parameter", "Missing"),
        ({"use_beam_search": True}, "use_beam_search", "invalid_value", "are: false"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_range(more, param, code, words):
    error = told({**CHAT, **more})
    assert (error.status, error.param, error.code) == (400, param, code)
    assert words in error.message


def test_unknown_arguments_are_refused_as_openai_does():
    error = told({**CHAT, "foo": 1, "bar": 2})
    assert error.body()["error"] == {
        "message": "Unrecognized request arguments supplied: foo, bar",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_a_body_that_is_no_object_is_refused():
    assert "expected an object, but got an array" in told([]).message


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function"}], "tool_choice": "none"},
        {"functions": [{}], "function_call": "none"},
        {"tools": [], "tool_choice": "auto"},
        {"tool_choice": "none"},
    ],
)
def test_tools_that_may_not_be_called_change_nothing(more):
    assert ChatBody.model_validate(CHAT | more).messages[0].content == "hi"


@pytest.mark.parametrize("prompt", ["a", [1, 2], ["a", "b"], [[1], [2, 3]]])
def test_every_kind_of_prompt_is_taken(prompt):
    assert CompletionBody.model_validate({"model": "m", "prompt": prompt}).prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (5, "prompt"),
        ([], "prompt"),
        ([1, "a"], "prompt[1]"),
        ([-1], "prompt[0]"),
        ([[]], "prompt[0]"),
    ],
)
def test_a_wrong_prompt_is_named(prompt, param):
    assert told({"model": "m", "prompt": prompt}, CompletionBody).param == param


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(ChatBody.model_fields)), value=json_values)
def test_whatever_is_sent_a_field_gets_an_answer(name, value):
    body = {**CHAT, name: value}
    try:
        ChatBody.model_validate(body)
    except ValidationError as error:
        found = api_error_of(error, body)
        assert found.status == 400
        assert found.message
        assert len(found.message) < 1000
