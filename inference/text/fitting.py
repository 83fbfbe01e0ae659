"""Makes a conversation fit the context, by a rule that people can be told.

The oldest turns go first, whole: a question with all that was answered to it. The system prompt and
the last turn always stay. Turns go until the answer's `max_tokens` have room, but for the sake of
an answer no more than a quarter of the context is kept free; a shorter answer is better than a
forgotten conversation. If the last turn alone leaves no room for a token, it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.text.template import Message

RESERVED_SHARE = 4
MAX_CHARS_PER_TOKEN = 12
"""More characters than this per token of context aren't encoded to be counted exactly.

Prose takes three to five characters a token. Together with the tokenizer's speed this bounds the
work on a message that can't fit anyway.
"""


class PromptTooLong(ValueError):
    """The system prompt and the last turn fill the context alone.

    `prompt_tokens` is the prompt's size, or at least that (`is_exact` False) when the text was so
    long that it wasn't counted to its end.
    """

    def __init__(self, prompt_tokens: int, context_length: int, *, is_exact: bool = True) -> None:
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length
        self.is_exact = is_exact
        more = "" if is_exact else "more than "
        super().__init__(
            f"The prompt has {more}{prompt_tokens} tokens, and the model's context holds "
            f"{context_length}, one of which the answer needs."
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits. `trimmed_messages` counts the messages that were left out."""

    token_ids: tuple[int, ...]
    trimmed_messages: int = 0


class Renders(Protocol):
    """What fitting needs of a TextModel."""

    def render(self, messages: Sequence[Message]) -> list[int]: ...

    def encode(self, text: str) -> list[int]: ...


def fit(
    text: Renders,
    messages: Sequence[Message],
    *,
    context_length: int,
    max_tokens: int,
    continued_tokens: int = 0,
) -> Fitted:
    """The tokens of as much of the conversation as fits; `continued_tokens` the answer has already.

    Raises PromptTooLong with both numbers.
    """
    head, turns = _split(messages)
    reserve = min(max(1, max_tokens - continued_tokens), max(1, context_length // RESERVED_SHARE))
    room = context_length - continued_tokens - reserve
    _refuse_hopeless(text, [*head, *turns[-1]] if turns else head, context_length)
    first = _first_that_may_fit(text, head, turns, room)
    while True:
        kept = [message for turn in turns[first:] for message in turn]
        tokens = text.render([*head, *kept])
        excess = len(tokens) - room
        if excess <= 0 or first >= len(turns) - 1:
            break
        first = _drop(text, turns, first, excess)
    if len(tokens) + continued_tokens >= context_length:
        raise PromptTooLong(len(tokens) + continued_tokens, context_length)
    return Fitted(tuple(tokens), sum(len(turn) for turn in turns[:first]))


def _split(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """Leading system messages, and turns: each begins with a user's message."""
    start = 0
    while start < len(messages) and messages[start].get("role") in ("system", "developer"):
        start += 1
    turns: list[list[Message]] = []
    for message in messages[start:]:
        if not turns or message.get("role") == "user":
            turns.append([])
        turns[-1].append(message)
    return list(messages[:start]), turns


def _first_that_may_fit(
    text: Renders, head: list[Message], turns: list[list[Message]], room: int
) -> int:
    """The oldest turn worth rendering: from the newest back, until contents alone fill the room.

    So a conversation of a thousand messages is encoded once around its end, not as a whole.
    """
    left = room - sum(_size(text, message) for message in head)
    for place in range(len(turns) - 1, -1, -1):
        left -= sum(_size(text, message) for message in turns[place])
        if left < 0:
            return min(place + 1, len(turns) - 1)
    return 0


def _drop(text: Renders, turns: list[list[Message]], first: int, excess: int) -> int:
    """The next oldest turn to begin with, when `excess` tokens have to go."""
    while excess > 0 and first < len(turns) - 1:
        excess -= sum(_size(text, message) for message in turns[first])
        first += 1
    return first


def _size(text: Renders, message: Message) -> int:
    """Tokens of a message's content, or a lower bound for one that is very long."""
    content = message.get("content")
    return len(text.encode(content[:100_000])) if isinstance(content, str) else 0


def _refuse_hopeless(text: Renders, messages: list[Message], context_length: int) -> None:
    """Refuse what must stay, if it is far too long, after counting only its beginning."""
    limit = context_length * MAX_CHARS_PER_TOKEN
    content = "".join(m["content"] for m in messages if isinstance(m.get("content"), str))
    if len(content) > limit and (counted := len(text.encode(content[:limit]))) > context_length:
        raise PromptTooLong(counted, context_length, is_exact=False)
