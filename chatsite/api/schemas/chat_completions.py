"""The body of /v1/chat/completions, and what comes back."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Self

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from chatsite.api.schemas.body import (
    Body,
    missing,
    nothing_inside,
    together,
)
from chatsite.api.schemas.common import (
    GenerationBody,
    TemplateVariables,
)
from chatsite.api.schemas.replies import AnsweredReason, PromptLogprobs, StopReason, Timings, Usage

MAX_MESSAGES = 4096


class Lenient(Body):
    """An object whose unknown fields are ignored: none of them changes the answer."""

    model_config = ConfigDict(extra="ignore")


class TextPart(Lenient):
    type: Literal["text"]
    text: str


class RefusalPart(Lenient):
    type: Literal["refusal"]
    refusal: str


ContentPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(Lenient):
    name: str
    arguments: str | dict[str, Any] | None = Field(default=None, description="JSON, or an object.")


class CustomCall(Lenient):
    name: str
    input: str = ""


class ToolCall(Lenient):
    """A call in an earlier answer."""

    id: str | None = None
    type: Literal["function", "custom"] | None = None
    function: CalledFunction | None = None
    custom: CustomCall | None = None

    @model_validator(mode="after")
    def _calls_something(self) -> Self:
        if self.function is None and self.custom is None:
            raise missing("function")
        return self


class ChatMessage(Lenient):
    """One turn. Text only: images and audio aren't served.

    `content` may be null or absent where a turn has none: an answer that called tools or was
    refused, and a tool that gave nothing back.
    """

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], Field(fail_fast=True)] | None = None
    refusal: str | None = Field(default=None, description="Stands in for an absent content.")
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = Field(default=None, description="The older form.")
    tool_call_id: str | None = None
    name: str | None = Field(default=None, description="Of a tool; ignored elsewhere.")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.role in ("assistant", "tool", "function"):
            return self
        if "content" not in self.model_fields_set:
            raise missing("content")
        if self.content is None or self.content == []:
            raise nothing_inside("content", self.content)
        return self


def check_endings(add_generation_prompt: bool | None, continue_final_message: bool | None) -> None:
    """Raises if a prompt is to continue its last message and also to open the next one."""
    if continue_final_message and add_generation_prompt is not False:
        raise together(
            "continue_final_message",
            "With 'continue_final_message', 'add_generation_prompt' must be false.",
        )


class ChatBody(GenerationBody):
    """The body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    max_completion_tokens: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Default: what the context has room for."
    )
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000, description="The older name.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    # vLLM's
    chat_template_kwargs: TemplateVariables | None = Field(
        default=None,
        description="Variables for the model's chat template, such as enable_thinking.",
    )
    add_generation_prompt: bool | None = Field(
        default=None, description="Default true: the prompt ends with the opening of an answer."
    )
    continue_final_message: bool | None = Field(
        default=None,
        description="The answer goes on with the last message; not with add_generation_prompt.",
    )
    add_special_tokens: bool | None = Field(
        default=None, description="Beside those that the chat template writes. Default false."
    )
    echo: bool | None = Field(
        default=None, description="The message that is continued comes back before the answer."
    )
    include_reasoning: bool | None = Field(
        default=None, description="Default true. False leaves `reasoning_content` out."
    )
    chat_template: None = None
    documents: None = None

    # OpenAI's, of which only the value without effect can be had
    tools: list[dict[str, Any]] | None = Field(
        default=None, description="Not served yet: taken only with a `tool_choice` of none."
    )
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = Field(default=None, description="Taken and ignored.")
    functions: list[dict[str, Any]] | None = Field(default=None, description="Older `tools`.")
    function_call: Literal["none", "auto"] | dict[str, Any] | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    prediction: None = None
    web_search_options: None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        default=None, description="Given to the chat template, which may use it."
    )
    verbosity: Literal["low", "medium", "high"] | None = Field(default=None, description="Ignored.")

    @model_validator(mode="after")
    def _calls_no_tools(self) -> Self:
        for names in (("tools", "tool_choice"), ("functions", "function_call")):
            offered, choice = (getattr(self, name) for name in names)
            if choice == "none":
                continue
            if offered or choice not in (None, "auto"):
                raise together(
                    names[0] if offered else names[1],
                    f"Tools aren't served yet: leave '{names[0]}' out, or send '{names[1]}' as "
                    f"'none'.",
                )
        return self

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> ChatBody:
        if self.top_logprobs is not None and not self.logprobs:
            raise together("top_logprobs", "With 'top_logprobs', 'logprobs' must be true.")
        return self

    @model_validator(mode="after")
    def _continues_or_begins(self) -> ChatBody:
        check_endings(self.add_generation_prompt, self.continue_final_message)
        return self


class TopLogprob(TypedDict):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(TypedDict):
    content: list[TokenLogprob]
    refusal: None


class AnswerMessage(TypedDict):
    role: Literal["assistant"]
    content: str
    refusal: None
    reasoning_content: NotRequired[str]


class ChatChoice(TypedDict):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: AnsweredReason
    stop_reason: StopReason
    token_ids: NotRequired[list[int]]


class ChatCompletion(TypedDict):
    """A whole reply of /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: Usage
    timings: Timings
    prompt_token_ids: NotRequired[list[int]]
    prompt_logprobs: NotRequired[PromptLogprobs]


class Delta(TypedDict, total=False):
    role: Literal["assistant"]
    content: str
    reasoning_content: str


class ChunkChoice(TypedDict):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: AnsweredReason | None
    stop_reason: StopReason
    token_ids: NotRequired[list[int]]


class ChatCompletionChunk(TypedDict):
    """One event of a streamed reply."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChunkChoice]
    usage: NotRequired[Usage | None]
    timings: NotRequired[Timings]
    prompt_token_ids: NotRequired[list[int]]
