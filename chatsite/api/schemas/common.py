"""Fields that chat completions and completions share, under OpenAI's and vLLM's names.

Three kinds: those that do something; those that are about OpenAI's own service and change no
answer, which are taken and ignored; and those that would change the answer and can't be had here,
which are taken only with the value that changes nothing. A name that is in neither API is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from chatsite.api.schemas.body import Body, together
from chatsite.api.schemas.forms import (
    FORMS,
    Grammar,
    Offered,
    ResponseFormat,
    ResponseText,
    StructuredOutputs,
)
from inference.contract import SamplingParams

MAX_CHOICES = 128
INT64 = 2**63

StopString = Annotated[
    str, StringConstraints(min_length=1, max_length=SamplingParams.MAX_STOP_CHARS)
]
StopStrings = Annotated[list[StopString], Field(max_length=SamplingParams.MAX_STOP_STRINGS)]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TemplateVariables = dict[str, str | int | float | bool | None]
BadWord = Annotated[
    str, StringConstraints(min_length=1, max_length=SamplingParams.MAX_BAD_WORD_CHARS)
]


class StreamOptions(Body):
    include_usage: bool | None = Field(
        default=None, description="A last chunk says how many tokens."
    )
    continuous_usage_stats: bool | None = Field(
        default=None, description="Every chunk says it (vLLM)."
    )
    include_obfuscation: bool | None = Field(default=None, description="Taken and ignored.")


class GenerationBody(Body):
    """What both kinds of completion take. None is the default everywhere."""

    model: str = Field(min_length=1, max_length=200, description="A slug of /v1/models.")
    preset: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="A sampling preset of this site by its slug. What the request says goes first.",
    )
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES, description="Choices per prompt.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: StopString | StopStrings | None = Field(
        default=None, description="The answer ends before any of them."
    )
    seed: int | None = Field(default=None, ge=-INT64, lt=INT64)
    temperature: float | None = Field(default=None, ge=0, le=2, description="Default 1.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Default 1.")
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, Bias] | None = Field(
        default=None,
        max_length=SamplingParams.MAX_LOGIT_BIAS,
        description="Token id → -100 to 100.",
    )
    response_format: ResponseFormat | None = None

    # vLLM's
    top_k: int | None = Field(default=None, ge=-1, le=1_000_000, description="-1 and 0 keep all.")
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, ge=0.01, le=10)
    min_tokens: int | None = Field(default=None, ge=0, le=1_000_000)
    ignore_eos: bool | None = None
    include_stop_str_in_output: bool | None = None
    stop_token_ids: (
        Annotated[list[TokenId], Field(max_length=SamplingParams.MAX_STOP_TOKENS, fail_fast=True)]
        | None
    ) = Field(default=None, description="The answer ends with any of them, unseen.")
    bad_words: (
        Annotated[list[BadWord], Field(max_length=SamplingParams.MAX_BAD_WORDS, fail_fast=True)]
        | None
    ) = Field(default=None, description="Texts whose last token may not follow the others.")
    allowed_token_ids: (
        Annotated[
            list[TokenId],
            Field(min_length=1, max_length=SamplingParams.MAX_ALLOWED_TOKENS, fail_fast=True),
        ]
        | None
    ) = Field(default=None, description="No other token may come, not even the end.")
    skip_special_tokens: bool | None = Field(
        default=None, description="Default true. False spells them out in the text."
    )
    prompt_logprobs: int | None = Field(
        default=None, ge=0, le=20, description="Of each prompt token, and of the likeliest there."
    )
    truncate_prompt_tokens: int | None = Field(
        default=None,
        ge=-1,
        le=1_000_000,
        description="So many tokens of the prompt are kept; -1 keeps what fits.",
    )
    truncation_side: Literal["left", "right"] | None = Field(
        default=None, description="Where they are cut off. Default left."
    )
    return_token_ids: bool | None = Field(
        default=None, description="Adds `token_ids`, end token included, and `prompt_token_ids`."
    )
    return_tokens_as_token_ids: bool | None = Field(
        default=None, description="Log-probabilities name tokens as token_id:5."
    )
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = Field(
        default=None, description="Older `structured_outputs.json`."
    )
    guided_regex: Grammar | None = None
    guided_choice: Offered | None = None
    guided_grammar: Grammar | None = None
    guided_decoding_backend: str | None = Field(
        default=None, max_length=200, description="Taken and ignored."
    )
    guided_whitespace_pattern: None = None
    priority: int | None = Field(
        default=None, ge=-1000, le=1000, description="Higher waits longer. Default 0."
    )
    cache_salt: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="What is cached is found again only under the same salt.",
    )
    request_id: str | None = Field(default=None, max_length=200, description="Taken and ignored.")

    # About OpenAI's service: no answer changes.
    user: str | None = Field(default=None, max_length=500, description="Taken and ignored.")
    metadata: dict[str, Any] | None = Field(default=None, description="Taken and ignored.")
    store: bool | None = Field(default=None, description="Taken and ignored.")
    service_tier: str | None = Field(default=None, description="Taken and ignored.")
    safety_identifier: str | None = Field(default=None, description="Taken and ignored.")
    prompt_cache_key: str | None = Field(default=None, description="Taken and ignored.")
    prompt_cache_retention: str | None = Field(default=None, description="Taken and ignored.")

    # Would change the answer and can't be had: only the value that changes nothing.
    use_beam_search: Literal[False] | None = None
    length_penalty: float | None = Field(default=None, ge=1, le=1)
    spaces_between_special_tokens: bool | None = Field(
        default=None, description="Taken and ignored."
    )
    logits_processors: None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise together(
                "stream_options", "'stream_options' is only allowed when 'stream' is true."
            )
        if self.prompt_logprobs is not None and self.stream:
            raise together(
                "prompt_logprobs", "'prompt_logprobs' are not available when 'stream' is true."
            )
        return self

    @model_validator(mode="after")
    def _truncation_leaves_something(self) -> Self:
        if self.truncate_prompt_tokens == 0:
            raise together(
                "truncate_prompt_tokens",
                "Invalid 'truncate_prompt_tokens': Expected -1 or a value >= 1, but got 0 instead.",
            )
        return self

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name in FORMS if getattr(self, name) is not None]
        if isinstance(self.response_format, ResponseText):
            given.remove("response_format")
        if len(given) > 1:
            raise together(
                given[1], f"Invalid '{given[1]}': '{given[0]}' asks for another form already."
            )
        return self
