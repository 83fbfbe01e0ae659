"""From a request's messages or prompts to tokens. Nothing is trimmed: a program decides itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic_core

from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError, unavailable
from chatsite.api.schemas.chat_completions import CalledFunction, ChatMessage, CustomCall, TextPart
from chatsite.api.schemas.common import (
    GenerationBody,
)
from chatsite.catalog.models import LanguageModel
from inference import client

Prompt = str | list[int]


def turns_of(messages: Sequence[ChatMessage], *, system_prompt: str = "") -> list[dict[str, Any]]:
    """Chat turns for the template. The model's own system prompt stands in where none is given."""
    turns = [_turn_of(message) for message in messages]
    if system_prompt and not any(turn["role"] == "system" for turn in turns):
        turns.insert(0, {"role": "system", "content": system_prompt})
    return turns


ROLES = {"developer": "system", "function": "tool"}  # what the templates call them


def _turn_of(message: ChatMessage) -> dict[str, Any]:
    role = ROLES.get(message.role, message.role)
    turn: dict[str, Any] = {"role": role, "content": _text_of(message)}
    if role == "assistant" and (calls := _calls_of(message)):
        turn["tool_calls"] = calls
    if role == "tool":
        turn |= {"tool_call_id": message.tool_call_id, "name": message.name}
    return turn


def _calls_of(message: ChatMessage) -> list[dict[str, Any]]:
    """The turn's tool calls as templates read them: arguments as an object where they are one."""
    calls = [_call(call.function or call.custom, call.id) for call in message.tool_calls or ()]
    if message.function_call is not None:
        calls.append(_call(message.function_call, None))
    return calls


def _call(called: CalledFunction | CustomCall | None, call_id: str | None) -> dict[str, Any]:
    if called is None:
        raise ValueError("a call without a function")
    given = called.input if isinstance(called, CustomCall) else called.arguments or {}
    if isinstance(given, str):
        given = _object_of(given)
    function = {"name": called.name, "arguments": given}
    return {"id": call_id or "", "type": "function", "function": function}


def _object_of(text: str) -> dict[str, Any] | str:
    """The JSON object that this is, or the text itself."""
    try:
        found = pydantic_core.from_json(text, allow_inf_nan=False)  # bounds the depth, too
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


def _text_of(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = message.content or ()
    texts = [part.text if isinstance(part, TextPart) else part.refusal for part in parts]
    return "\n".join(texts) if texts else message.refusal or ""


def chat_tokens(
    text: client.TextModel,
    turns: Sequence[dict[str, Any]],
    *,
    variables: Mapping[str, Any] | None = None,
    **ending: bool,
) -> tuple[int, ...]:
    """The prompt of a conversation; `ending` says how it ends, as TextModel.render has it.

    Raises ApiError when the chat template refuses it.
    """
    chars = sum(len(turn["content"]) + len(str(turn.get("tool_calls", ""))) for turn in turns)
    _refuse_hopeless(text, chars, "messages")
    try:
        return tuple(text.render(turns, variables=variables, **ending))
    except (client.BadMessage, client.TemplateFailed) as error:
        raise ApiError(400, str(error), param="messages", code=ApiCode.INVALID_VALUE) from error


def prompt_tokens(
    text: client.TextModel, prompt: Prompt, *, add_special_tokens: bool = True
) -> tuple[int, ...]:
    """A raw prompt's tokens. Its control tokens are meant: whoever completes writes all of it."""
    if isinstance(prompt, str):
        _refuse_hopeless(text, len(prompt), "prompt")
        tokens = tuple(raw_tokens(text, prompt, add_special_tokens=add_special_tokens))
        if not tokens:
            raise ApiError(
                400, "Invalid 'prompt': it has no token.", param="prompt", code=ApiCode.EMPTY_PROMPT
            )
        return tokens
    if (highest := max(prompt)) >= text.vocab_size:
        message = (
            f"Invalid 'prompt': token id {highest} is not in the vocabulary. Expected ids from 0 "
            f"to {text.vocab_size - 1}."
        )
        raise ApiError(400, message, param="prompt", code=ApiCode.INVALID_VALUE)
    return tuple(prompt)


@dataclass(frozen=True, slots=True)
class Truncation:
    """`keep` tokens of a prompt stay, -1: as many as the context has room for."""

    keep: int
    is_left: bool = True  # the beginning goes

    def of(self, tokens: tuple[int, ...], room: int) -> tuple[int, ...]:
        """Raises ApiError for more than the context holds, as vLLM does."""
        keep = room if self.keep == -1 else self.keep
        if keep > room:
            text = (
                f"Invalid 'truncate_prompt_tokens': Expected a value <= {room}, which the context "
                f"has room for beside the completion, but got {keep} instead."
            )
            raise ApiError(
                400, text, param="truncate_prompt_tokens", code=ApiCode.INTEGER_ABOVE_MAX
            )
        return tokens[-keep:] if self.is_left else tokens[:keep]


def truncation_of(body: GenerationBody) -> Truncation | None:
    if body.truncate_prompt_tokens is None:
        return None
    return Truncation(body.truncate_prompt_tokens, body.truncation_side != "right")


def raw_tokens(text: client.TextModel, prompt: str, *, add_special_tokens: bool) -> list[int]:
    vocabulary = text.vocabulary
    return vocabulary.encode_spelled(
        vocabulary.spell(client.clean(prompt)), add_special_tokens=add_special_tokens
    )


def split_prompts(prompt: Any) -> list[Prompt]:
    """One prompt or a list of them, as a list."""
    if isinstance(prompt, list) and not isinstance(prompt[0], int):
        return prompt
    return [prompt]


def room_for_answer(
    context_length: int, prompt_length: int, max_tokens: int | None, *, what: str
) -> int:
    """How many tokens the answer may have. Raises ApiError 400 with the numbers when too many.

    A prompt may fill the context if no answer is asked for (`max_tokens` 0).
    """
    room = context_length - prompt_length
    if room < 0 or (room == 0 and max_tokens != 0):
        raise too_long(
            f"This model's maximum context length is {context_length} tokens. However, your "
            f"{what} resulted in {prompt_length} tokens. Please reduce the length of the {what}.",
            what,
        )
    if max_tokens is None:
        return room
    if max_tokens > room:
        raise too_long(
            f"This model's maximum context length is {context_length} tokens. However, you "
            f"requested {prompt_length + max_tokens} tokens ({prompt_length} in the {what}, "
            f"{max_tokens} in the completion). Please reduce the length of the {what} or "
            f"completion.",
            what,
        )
    return max_tokens


def too_long(message: str, param: str) -> ApiError:
    return ApiError(400, message, param=param, code=ApiCode.CONTEXT_LENGTH_EXCEEDED)


def _refuse_hopeless(text: client.TextModel, chars: int, what: str) -> None:
    """Megabytes that can't fit aren't worth counting: no text has 64 characters a token."""
    if text.context_length is not None and chars > text.context_length * 64:
        raise too_long(
            f"This model's maximum context length is {text.context_length} tokens. However, your "
            f"{what} resulted in more than {text.context_length} tokens ({chars} characters). "
            f"Please reduce the length of the {what}.",
            what,
        )


def text_of_model(model: LanguageModel) -> client.TextModel:
    """The text side of a model. Raises ApiError 503 when its folder can't be read."""
    try:
        return client.load_text(model.slug)
    except client.ClientError as error:
        raise unavailable(str(error), code=ApiCode.MODEL_UNREADABLE) from error
