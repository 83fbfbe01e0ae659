"""Parts that several replies share, and the replies to requests without a body."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

AnsweredReason = Literal["stop", "length"]  # others are an error instead of an answer
StopReason = int | str | None  # the stop token or stop string that ended it; null for others


class PromptLogprob(TypedDict):
    """`rank` is null for a token that isn't among the likeliest asked for."""

    logprob: float
    rank: int | None
    decoded_token: str


PromptLogprobs = list[dict[str, PromptLogprob] | None]  # by token id; the first token has none


class PromptTokensDetails(TypedDict):
    cached_tokens: int


class CompletionTokensDetails(TypedDict):
    reasoning_tokens: int


class Usage(TypedDict):
    """A prompt counts once, whatever `n` is. End tokens count: they were made."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class ChoiceTimings(TypedDict):
    """This site's own figures of one request, in milliseconds; null is "not reached"."""

    request_id: str
    queue_ms: float | None
    prefill_ms: float | None
    ttft_ms: float | None
    decode_ms: float | None
    tpot_ms: float | None


class Timings(ChoiceTimings):
    """Of choice 0; with several, of each in `choices`."""

    choices: NotRequired[list[ChoiceTimings]]


class Model(TypedDict):
    """A model as GET /v1/models lists it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    name: str
    max_model_len: int | None


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]


class ErrorDetail(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(TypedDict):
    error: ErrorDetail
