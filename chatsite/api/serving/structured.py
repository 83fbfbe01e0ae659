"""What holds an answer to a form: OpenAI's response_format and vLLM's structured_outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic_core

from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError
from chatsite.api.schemas.common import (
    GenerationBody,
)
from chatsite.api.schemas.forms import (
    MAX_GRAMMAR_CHARS,
    ResponseJsonObject,
    ResponseJsonSchema,
)
from chatsite.api.serving.json_schema import UnusableSchema, literal_grammar, normalised
from chatsite.api.serving.schema_references import BadReference
from inference.contract import Constraint, ErrorCode

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
        inside = asked.json_schema
        schema = asked.schema_ if inside is None else inside.schema_
        is_strict = inside is not None and bool(inside.strict)
        return _json("response_format", schema or {}, is_strict=is_strict)
    if isinstance(asked, ResponseJsonObject):
        return _json("response_format", asked.schema_ or {})
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


def _json(param: str, schema: Mapping[str, Any] | str, *, is_strict: bool = False) -> Form:
    if isinstance(schema, str):
        schema = _parsed(param, schema)
    if not schema:
        return Form(param, Constraint("schema", ANY_OBJECT))
    _bounded(param, json.dumps(schema, separators=(",", ":")))
    if (grammar := literal_grammar(schema)) is not None:
        return Form(param, Constraint("grammar", _bounded(param, grammar)))
    try:
        schema = normalised(schema, is_strict=is_strict)
    except (UnusableSchema, BadReference) as error:
        message = f"Invalid '{param}': the schema can't be followed: {error}"
        raise ApiError(400, message, param=param, code=ErrorCode.BAD_SCHEMA) from error
    return Form(param, Constraint("schema", json.dumps(schema, separators=(",", ":"))))


def _parsed(param: str, text: str) -> dict[str, Any]:
    try:
        schema = pydantic_core.from_json(text, allow_inf_nan=False)  # bounds the depth, too
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        message = f"Invalid '{param}': the JSON schema must be an object."
        raise ApiError(400, message, param=param, code=ApiCode.INVALID_JSON_SCHEMA)
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
        raise ApiError(400, message, param=param, code=ApiCode.STRING_ABOVE_MAX)
    return text
