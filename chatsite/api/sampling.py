"""From a request's fields to what the engine is told.

The request's own values go first, then those of the preset it names, then OpenAI's defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chatsite.api.errors import ApiError
from chatsite.api.schemas.common import GenerationBody, ResponseJsonObject, ResponseJsonSchema
from chatsite.catalog.models import SamplingPreset
from inference.contract import InvalidField, SamplingParams

ANY_OBJECT = "{}"
MAX_SCHEMA_CHARS = 64_000
SAME_NAMES = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "seed", "min_tokens", "ignore_eos",
)  # fmt: skip


def sampling_of(
    body: GenerationBody,
    preset: SamplingPreset | None,
    *,
    max_tokens: int,
    logprobs: int | None,
    vocab_size: int,
) -> SamplingParams:
    """The parameters of one choice. Raises ApiError naming the field at fault."""
    values: dict[str, Any] = {}
    if preset is not None:
        values = {name: getattr(preset, name) for name in SamplingPreset.SAMPLING_FIELDS}
        values["stop"] = tuple(preset.stop)
    for name in SAME_NAMES:
        if (given := getattr(body, name)) is not None:
            values[name] = given
    values["top_k"] = max(0, values.get("top_k", 0))
    if values.get("top_p") == 0:
        values["top_p"] = 1e-9  # OpenAI takes 0: the likeliest token alone
    if body.stop is not None:
        values["stop"] = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)
    values |= {"max_tokens": max_tokens, "logprobs": logprobs}
    values["logit_bias"] = _biases(body.logit_bias or {}, vocab_size)
    try:
        return SamplingParams(**values)
    except InvalidField as error:
        raise ApiError(400, str(error), param=error.field, code="invalid_value") from error


def _biases(given: Mapping[str, float], vocab_size: int) -> tuple[tuple[int, float], ...]:
    biases = []
    for key, bias in given.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10 and int(key) < vocab_size):
            text = (
                f"Invalid key in 'logit_bias': {key[:40]!r}. Maybe it isn't a token id of this "
                f"model: ids go from 0 to {vocab_size - 1}."
            )
            raise ApiError(400, text, param="logit_bias", code="invalid_value")
        biases.append((int(key), bias))
    return tuple(biases)


def response_schema_of(body: GenerationBody) -> str | None:
    """The JSON schema that the answer must follow, as text; None for free text."""
    if isinstance(body.response_format, ResponseJsonSchema):
        schema = body.response_format.json_schema.schema_
        return _schema_text("response_format", schema if schema is not None else {})
    if isinstance(body.response_format, ResponseJsonObject):
        return ANY_OBJECT
    if body.structured_outputs is not None:
        if body.structured_outputs.json_ is not None:
            return _schema_text("structured_outputs", body.structured_outputs.json_)
        return ANY_OBJECT if body.structured_outputs.json_object else None
    if body.guided_json is not None:
        return _schema_text("guided_json", body.guided_json)
    return None


def _schema_text(param: str, schema: Mapping[str, Any] | str) -> str:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            schema = []
        if not isinstance(schema, dict):
            text = f"Invalid '{param}': the JSON schema must be an object."
            raise ApiError(400, text, param=param, code="invalid_json_schema")
    text = json.dumps(schema, separators=(",", ":"))
    if len(text) > MAX_SCHEMA_CHARS:
        message = (
            f"Invalid '{param}': the schema is too long. Expected at most {MAX_SCHEMA_CHARS:,} "
            f"characters, but got {len(text):,} instead."
        )
        raise ApiError(400, message, param=param, code="string_above_max_length")
    return text
