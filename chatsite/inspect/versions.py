"""The versions that share an answer's beginning: where each forked and how likely it was."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatsite.chat.models import Message
from chatsite.inspect.tokens import Tokens, texts_of, tokens_of
from inference import client

MAX_VERSIONS = 8
SHOWN_TOKENS = 40
"""Of each version, from the fork on."""


def versions_of(
    answer: Message, tokens: Tokens, text: client.TextModel | None
) -> list[dict[str, Any]]:
    """The answer itself, the one it branched from, and the branches of both; alone: none.

    `at` is how many tokens a version shares with this answer. `logprob` is the sum over all of its
    tokens of their log-probabilities before the samplers, where all of them are known.
    """
    others: dict[Any, tuple[Message, int]] = {}
    origin, own_at = answer.branched_from, answer.branched_at
    if origin is not None and own_at is not None:
        others[origin.pk] = (origin, own_at)
        for sibling in origin.branches.order_by("created_at")[:MAX_VERSIONS]:
            others[sibling.pk] = (sibling, min(own_at, sibling.branched_at or 0))
    for branch in answer.branches.order_by("created_at")[:MAX_VERSIONS]:
        others[branch.pk] = (branch, branch.branched_at or 0)
    others.pop(answer.pk, None)
    if not others:
        return []
    first = min(at for _, at in others.values())
    found = [_version(answer, first, tokens, text) | {"is_this": True}]
    for other, at in list(others.values())[:MAX_VERSIONS]:
        found.append(_version(other, at, tokens_of(other), text) | {"is_this": False})
    return found


def _version(
    message: Message, at: int, tokens: Tokens, text: client.TextModel | None
) -> dict[str, Any]:
    is_known = bool(tokens.is_known.all()) and message.state == Message.State.DONE
    table = tokens.table
    total = float((table["best_logprob"] - table["below_best"]).sum(dtype=np.float64))
    return {
        "id": message.pk,
        "at": at,
        "count": len(message.token_ids),
        "texts": texts_of(message.token_ids, text)[at : at + SHOWN_TOKENS],
        "is_cut": len(message.token_ids) > at + SHOWN_TOKENS,
        "logprob": total if is_known and np.isfinite(total) else None,
    }
