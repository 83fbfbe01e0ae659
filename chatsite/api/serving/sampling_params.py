"""Makes the engine's SamplingParams of a request's fields.

The request's own values come first, then those of the preset it names, then OpenAI's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError
from chatsite.api.schemas.common import (
    GenerationBody,
)
from chatsite.catalog.models import SamplingPreset
from inference import client
from inference.contract import InvalidField, SamplingParams

SAME_NAMES = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "seed", "min_tokens", "ignore_eos", "skip_special_tokens",
)  # fmt: skip


def sampling_of(
    body: GenerationBody,
    preset: SamplingPreset | None,
    *,
    max_tokens: int,
    logprobs: int | None,
    text: client.TextModel,
    keeps_first_space: bool,
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
    values["logit_bias"] = _biases(body.logit_bias or {}, text.vocab_size)
    for name in ("stop_token_ids", "allowed_token_ids"):
        if (given := getattr(body, name)) is not None:
            values[name] = _known_ids(name, given, text.vocab_size)
    values["bad_token_ids"] = _bad_token_ids(body.bad_words or (), text)
    values["keeps_first_space"] = keeps_first_space
    try:
        return SamplingParams(**values)
    except InvalidField as error:
        raise ApiError(400, str(error), param=error.field, code=ApiCode.INVALID_VALUE) from error


def _biases(given: Mapping[str, float], vocab_size: int) -> tuple[tuple[int, float], ...]:
    biases = []
    for key, bias in given.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10 and int(key) < vocab_size):
            text = (
                f"Invalid key in 'logit_bias': {key[:40]!r}. Maybe it isn't a token id of this "
                f"model: ids go from 0 to {vocab_size - 1}."
            )
            raise ApiError(400, text, param="logit_bias", code=ApiCode.INVALID_VALUE)
        biases.append((int(key), bias))
    return tuple(biases)


def _known_ids(name: str, given: Sequence[int], vocab_size: int) -> tuple[int, ...]:
    for place, token in enumerate(given):
        if token >= vocab_size:
            message = (
                f"Invalid '{name}[{place}]': token id {token} is not in the vocabulary. Expected "
                f"ids from 0 to {vocab_size - 1}."
            )
            raise ApiError(400, message, param=f"{name}[{place}]", code=ApiCode.INVALID_VALUE)
    return tuple(given)


def _bad_token_ids(words: Sequence[str], text: client.TextModel) -> tuple[tuple[int, ...], ...]:
    """Each word's tokens, as it stands at a text's beginning and behind a space."""
    found: dict[tuple[int, ...], None] = {}
    for word in words:
        bare = word.lstrip()
        for spelling in {bare, " " + bare, word}:
            if tokens := tuple(text.encode(spelling)):
                found[tokens] = None
    return tuple(sorted(found))
