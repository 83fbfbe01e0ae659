"""The body of /v1/completions, and what comes back."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from chatsite.api.schemas.common import (
    MAX_CHOICES,
    GenerationBody,
    TokenId,
)
from chatsite.api.schemas.replies import AnsweredReason, PromptLogprobs, StopReason, Timings, Usage

MAX_PROMPT_TOKENS = 1_000_000
DEFAULT_MAX_TOKENS = 16  # OpenAI's

# A list of a million faults is told by its first.
TokenPrompt = Annotated[
    list[TokenId], Field(min_length=1, max_length=MAX_PROMPT_TOKENS, fail_fast=True)
]


class CompletionBody(GenerationBody):
    """The body of POST /v1/completions."""

    prompt: (
        str
        | TokenPrompt
        | Annotated[list[str], Field(min_length=1, max_length=MAX_CHOICES, fail_fast=True)]
        | Annotated[list[TokenPrompt], Field(min_length=1, max_length=MAX_CHOICES, fail_fast=True)]
    ) = Field(description="A text, token ids, or a list of either.")
    max_tokens: int | None = Field(
        default=None, ge=0, le=1_000_000, description="Default 16. 0 only with `echo`."
    )
    echo: bool | None = Field(default=None, description="The prompt comes back before the answer.")
    logprobs: int | None = Field(default=None, ge=0, le=20)
    add_special_tokens: bool | None = Field(
        default=None,
        description="Whether a text prompt gets the vocabulary's own first token (vLLM).",
    )
    best_of: int | None = Field(
        default=None, ge=1, le=MAX_CHOICES, description="Only the value of `n`."
    )
    suffix: Literal[""] | None = None


class Logprobs(TypedDict):
    """Log-probabilities in the older API's form: columns instead of tokens."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class Choice(TypedDict):
    """One continuation of a prompt."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: AnsweredReason | None
    stop_reason: StopReason
    token_ids: NotRequired[list[int]]
    prompt_token_ids: NotRequired[list[int]]
    prompt_logprobs: NotRequired[PromptLogprobs]


class Completion(TypedDict):
    """Also the shape of a chunk, where `usage` is null but in the last."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[Choice]
    usage: NotRequired[Usage | None]
    timings: NotRequired[Timings]
