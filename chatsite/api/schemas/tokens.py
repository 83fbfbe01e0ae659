"""The bodies of /v1/tokenize and /v1/detokenize, and what comes back. The shapes are vLLM's."""

from __future__ import annotations

from typing import NotRequired

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from chatsite.api.schemas.body import (
    Body,
    together,
)
from chatsite.api.schemas.chat_completions import MAX_MESSAGES, ChatMessage, check_endings
from chatsite.api.schemas.common import (
    TemplateVariables,
    TokenId,
)

MAX_TOKENS = 1_000_000


class TokenizeBody(Body):
    """The body of POST /v1/tokenize: a text or a conversation."""

    model: str = Field(
        min_length=1, max_length=200, description="A model, or a vocabulary without one."
    )
    prompt: str | None = None
    messages: list[ChatMessage] | None = Field(
        default=None, min_length=1, max_length=MAX_MESSAGES, fail_fast=True
    )
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None
    chat_template_kwargs: TemplateVariables | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> TokenizeBody:
        if (self.prompt is None) == (self.messages is None):
            raise together("prompt", "Give either 'prompt' or 'messages'.")
        check_endings(self.add_generation_prompt, self.continue_final_message)
        return self


class DetokenizeBody(Body):
    model: str = Field(min_length=1, max_length=200)
    tokens: list[TokenId] = Field(max_length=MAX_TOKENS, fail_fast=True)


class Tokenized(TypedDict):
    """Token ids of a text."""

    count: int
    max_model_len: int | None
    tokens: list[int]
    token_strs: NotRequired[list[str] | None]


class Detokenized(TypedDict):
    """The text of token ids."""

    prompt: str
