"""The tokens of one answer: what is stored of each, by its place in the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsite.chat.models import Message
from chatsite.generation import token_trace
from chatsite.generation.models import Generation, TokenTrace
from inference import client
from inference.contract import TOKEN_RECORD

MAX_ORIGINS = 20
"""Of a branch of a branch of a …: so many answers are looked at for the beginning."""


class Tokens:
    """The tokens of one answer: records and gaps by position."""

    def __init__(self, answer: Message) -> None:
        count = len(answer.token_ids)
        self.table = np.zeros(count, dtype=TOKEN_RECORD)
        self.table["token"] = answer.token_ids
        self.is_known = np.zeros(count, dtype=np.uint8)
        self.gaps_us: npt.NDArray[Any] = np.full(count, -1, dtype="<i4")
        self.requests: list[Generation] = []
        self.prompt: TokenTrace | None = None

    def add(self, trace: TokenTrace) -> None:
        """What one request sampled, as far as the answer has it."""
        traced = token_trace.unpack(bytes(trace.data), first=trace.first)
        end = min(len(self.table), trace.first + len(traced.records))
        here, there = slice(trace.first, end), slice(0, max(0, end - trace.first))
        is_it = traced.records["token"][there] == self.table["token"][here]
        known = traced.is_known[there] & is_it
        self.table[here] = np.where(known, traced.records[there], self.table[here])
        self.is_known[here] = known
        self.gaps_us[here] = traced.gaps_us[there]
        self.requests.append(trace.generation)
        if self.prompt is None and trace.prompt:
            self.prompt = trace

    def begin_as(self, origin: Tokens, at: int) -> None:
        """The first `at` tokens are another answer's, and the next was chosen by a person.

        Their gaps are the other answer's time.
        """
        self.table[:at], self.is_known[:at] = origin.table[:at], origin.is_known[:at]
        if at < len(self.table) and at < len(origin.table) and origin.is_known[at]:
            chosen = int(self.table["token"][at])
            self.table[at] = origin.table[at]
            self.table["token"][at], self.is_known[at] = chosen, FORCED
            place = np.flatnonzero(self.table["candidates"][at] == chosen)
            self.table["rank"][at] = place[0] + 1 if place.size else 0
            self.table["below_best"][at] = (
                self.table["candidates_below_best"][at][place[0]] if place.size else np.inf
            )


FORCED = 2
"""In `is_known`: the model's distribution is known, and a person chose from it."""


def tokens_of(answer: Message, *, depth: int = 0) -> Tokens:
    """What is known of its tokens, from its own requests and the answer it branches from."""
    tokens = Tokens(answer)
    if answer.branched_from is not None and answer.branched_at is not None and depth < MAX_ORIGINS:
        tokens.begin_as(tokens_of(answer.branched_from, depth=depth + 1), answer.branched_at)
    for trace in token_trace.traces_of(answer.pk):
        tokens.add(trace)
    return tokens


def texts_of(token_ids: Iterable[int], text: client.TextModel | None) -> list[str]:
    """What each token completed of the answer's text; nothing in the middle of a character."""
    if text is None:
        return ["" for _ in token_ids]
    reader = text.span_reader()
    return [reader.feed(token).text for token in token_ids]
