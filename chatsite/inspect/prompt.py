"""The prompt as the model saw it, and who put each of its tokens there."""

from __future__ import annotations

from typing import Any

from chatsite.catalog.models import LanguageModel
from chatsite.chat.models import Message
from chatsite.chat.prompt import turns_to
from chatsite.generation import token_trace
from chatsite.generation.models import TokenTrace
from inference import client

TEMPLATE, SYSTEM, QUESTION, EARLIER_QUESTION, EARLIER_ANSWER = range(5)
"""Who put a token there. As in static/js/inspect/prompt-stage.js."""


def prompt_data(
    answer: Message, trace: TokenTrace, text: client.TextModel | None
) -> dict[str, Any]:
    """The prompt's ids, and the owner of each; None where template and prompt don't fit together.

    Messages never change, so that only a system prompt or a template that was changed since then
    keeps the owners from being known.
    """
    ids = token_trace.unpack_ids(bytes(trace.prompt))
    return {
        "ids": ids,
        "owners": None if text is None else owners_of(answer, ids, text),
        "cached": trace.generation.cached_tokens or 0,
    }


def owners_of(answer: Message, ids: list[int], text: client.TextModel) -> list[int] | None:
    """The owner of each token of the prompt that was answered."""
    turns = turns_to(answer.parent)[answer.trimmed_messages :]
    model = LanguageModel.objects.filter(slug=answer.model_slug).only("system_prompt").first()
    if model is not None and model.system_prompt:
        turns = [{"role": "system", "content": model.system_prompt}, *turns]
    found = text.owners(ids, turns)
    if found is None:
        return None
    kinds = [_kind(turn["role"]) for turn in turns]
    if QUESTION_ROLE in (turn["role"] for turn in turns):
        last = max(n for n, turn in enumerate(turns) if turn["role"] == QUESTION_ROLE)
        kinds[last] = QUESTION
    return [TEMPLATE if n is None else kinds[n] for n in found]


QUESTION_ROLE = "user"


def _kind(role: str) -> int:
    if role == "system":
        return SYSTEM
    return EARLIER_QUESTION if role == QUESTION_ROLE else EARLIER_ANSWER
