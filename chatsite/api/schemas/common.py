"""Fields that chat completions and completions share, under OpenAI's and vLLM's names.

Three kinds: those that do something; those that are about OpenAI's own service and change no
answer, which are taken and ignored; and those that would change the answer and can't be had here,
which are taken only with the value that changes nothing. A name that is in neither API is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from inference.contract import SamplingParams

MAX_CHOICES = 128
INT64 = 2**63
FIELDS_TOGETHER = "fields_together"

StopString = Annotated[
    str, StringConstraints(min_length=1, max_length=SamplingParams.MAX_STOP_CHARS)
]
StopStrings = Annotated[list[StopString], Field(max_length=SamplingParams.MAX_STOP_STRINGS)]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TemplateVariables = dict[str, str | int | float | bool | None]
Nothing = Annotated[list[Any], Field(max_length=0)]


class Body(BaseModel):
    """JSON as it is: a string is no number, and nothing unknown passes."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def together(param: str, message: str) -> PydanticCustomError:
    """A fault that shows only when fields are looked at together; `param` is the one to name."""
    return PydanticCustomError(FIELDS_TOGETHER, "{message}", {"param": param, "message": message})


class StreamOptions(Body):
    include_usage: bool | None = Field(
        default=None, description="A last chunk says how many tokens."
    )
    continuous_usage_stats: bool | None = Field(
        default=None, description="Every chunk says it (vLLM)."
    )
    include_obfuscation: bool | None = Field(default=None, description="Taken and ignored.")


class JsonSchema(Body):
    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")
    description: str | None = Field(default=None, max_length=4096)
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseText(Body):
    type: Literal["text"]


class ResponseJsonObject(Body):
    type: Literal["json_object"]


class ResponseJsonSchema(Body):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[
    ResponseText | ResponseJsonObject | ResponseJsonSchema, Field(discriminator="type")
]


class StructuredOutputs(Body):
    """vLLM's way to ask for a JSON schema; its other grammars aren't served."""

    json_: dict[str, Any] | str | None = Field(default=None, alias="json")
    json_object: bool | None = None


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
    return_token_ids: bool | None = Field(
        default=None, description="Adds `token_ids` to each choice."
    )
    guided_json: dict[str, Any] | str | None = Field(
        default=None, description="Older `structured_outputs`."
    )
    structured_outputs: StructuredOutputs | None = None
    priority: int | None = Field(
        default=None, ge=0, le=1000, description="Higher waits longer. Default 0."
    )
    request_id: str | None = Field(default=None, max_length=200, description="Taken and ignored.")
    cache_salt: str | None = Field(default=None, max_length=200, description="Taken and ignored.")

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
    skip_special_tokens: Literal[True] | None = None
    spaces_between_special_tokens: bool | None = Field(
        default=None, description="Taken and ignored."
    )
    stop_token_ids: Nothing | None = None
    bad_words: Nothing | None = None
    allowed_token_ids: None = None
    truncate_prompt_tokens: None = None
    prompt_logprobs: None = None
    logits_processors: None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise together(
                "stream_options", "'stream_options' is only allowed when 'stream' is true."
            )
        return self
