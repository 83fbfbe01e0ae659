"""What holds an answer to a form: OpenAI's response_format and vLLM's structured_outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatsite.api.http.error_responses import ApiError
from chatsite.api.schemas.common import (
    MAX_GRAMMAR_CHARS,
    GenerationBody,
    ResponseJsonObject,
    ResponseJsonSchema,
)
from inference.contract import Constraint

ANY_OBJECT = "{}"


@dataclass(frozen=True, slots=True)
class Form:
    """What the answer must follow, and `param`, where the caller wrote it."""

    param: str
    constraint: Constraint


def form_of(body: GenerationBody) -> Form | None:
    """The form that the answer must keep; None for free text. Raises ApiError naming its place."""
    asked = body.response_format
    if isinstance(asked, ResponseJsonSchema):
        schema = asked.json_schema.schema_
        return _json("response_format", schema if schema is not None else {})
    if isinstance(asked, ResponseJsonObject):
        return Form("response_format", Constraint("schema", ANY_OBJECT))
    if body.structured_outputs is not None:
        inner = body.structured_outputs
        if inner.json_object:
            return Form("structured_outputs.json_object", Constraint("schema", ANY_OBJECT))
        return _form("structured_outputs.", inner.json_, inner.regex, inner.choice, inner.grammar)
    return _form(
        "guided_", body.guided_json, body.guided_regex, body.guided_choice, body.guided_grammar
    )


def _form(
    prefix: str,
    schema: Mapping[str, Any] | str | None,
    regex: str | None,
    choice: Sequence[str] | None,
    grammar: str | None,
) -> Form | None:
    if schema is not None:
        return _json(prefix + "json", schema)
    if regex is not None:
        return Form(prefix + "regex", Constraint("regex", regex))
    if choice is not None:
        return _one_of(prefix + "choice", choice)
    return None if grammar is None else Form(prefix + "grammar", Constraint("grammar", grammar))


def _json(param: str, schema: Mapping[str, Any] | str) -> Form:
    if isinstance(schema, str):
        schema = _parsed(param, schema)
    text = json.dumps(schema, separators=(",", ":"))
    return Form(param, Constraint("schema", _bounded(param, text)))


def _parsed(param: str, text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        message = f"Invalid '{param}': the JSON schema must be an object."
        raise ApiError(400, message, param=param, code="invalid_json_schema")
    return schema


def _one_of(param: str, choice: Sequence[str]) -> Form:
    """A grammar in Lark's notation, whose strings are JSON's."""
    text = "start: " + " | ".join(map(json.dumps, choice))
    return Form(param, Constraint("grammar", _bounded(param, text)))


def _bounded(param: str, text: str) -> str:
    if len(text) > MAX_GRAMMAR_CHARS:
        message = (
            f"Invalid '{param}': too long. Expected at most {MAX_GRAMMAR_CHARS:,} characters, but "
            f"got {len(text):,} instead."
        )
        raise ApiError(400, message, param=param, code="string_above_max_length")
    return text
