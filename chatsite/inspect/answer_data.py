"""All that the page of one answer draws, as JSON: stored numbers, and the words for its tokens.

Numbers go over as the columns that they are stored in, base64 of little-endian arrays, so that
2,000 tokens with their 20 candidates each are ready in milliseconds and arrive unrounded. What is
worked out of them is worked out in the page (static/js/inspect/). No model is loaded, only its
vocabulary; without that the ids remain.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsite.chat.models import Message
from chatsite.generation import token_trace
from chatsite.generation.models import Generation, TokenTrace
from chatsite.inspect.cache_saving import saved_by_cache
from chatsite.inspect.prompt import prompt_data
from inference import client
from inference.contract import NO_TOKEN, TOKEN_RECORD

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


def answer_data(answer: Message) -> dict[str, Any]:
    """The page's data; see the module. A handful of queries, more only for branches."""
    tokens = tokens_of(answer)
    try:
        text = client.load_text(answer.model_slug)
    except client.ModelUnknown:
        text = None
    last = tokens.requests[-1] if tokens.requests else None
    prompt = prompt_data(answer, tokens.prompt, text) if tokens.prompt else None
    if prompt is not None:
        prompt["cache"] = saved_by_cache(tokens.requests[0])
    ids = {*answer.token_ids, *(prompt["ids"] if prompt else ())}
    ids |= set(np.unique(tokens.table["candidates"][tokens.is_known > 0]).tolist()) - {NO_TOKEN}
    return {
        "count": len(answer.token_ids),
        "columns": columns_of(tokens),
        "texts": texts_of(answer.token_ids, text),
        "pieces": pieces_of(ids, text),
        "ends": sorted(text.eos_token_ids) if text else [],
        "vocabulary": text.vocab_size if text else None,
        "sampling": last.sampling if last else {},
        "requests": [request_data(generation) for generation in tokens.requests],
        "branched_at": answer.branched_at if answer.branched_from_id else None,
        "prompt": prompt,
    }


def columns_of(tokens: Tokens) -> dict[str, str]:
    """Every column, in base64."""
    names = tokens.table.dtype.names or ()
    columns: dict[str, npt.NDArray[Any]] = {name: tokens.table[name] for name in names}
    columns |= {"is_known": tokens.is_known, "gap_us": tokens.gaps_us}
    return {name: base64.b64encode(c.tobytes()).decode() for name, c in columns.items()}


def texts_of(token_ids: Iterable[int], text: client.TextModel | None) -> list[str]:
    """What each token completed of the answer's text; nothing in the middle of a character."""
    if text is None:
        return ["" for _ in token_ids]
    reader = text.span_reader()
    return [reader.feed(token).text for token in token_ids]


def pieces_of(ids: Iterable[int], text: client.TextModel | None) -> dict[int, list[Any]]:
    """By id the bytes that a token stands for, in hexadecimal, and whether it is a special one.

    A special token stands for its own name here.
    """
    if text is None:
        return {}
    pieces = text.vocabulary.pieces
    return {token: [pieces.spelled(token).hex(), int(not pieces[token])] for token in ids}


def request_data(generation: Generation) -> dict[str, Any]:
    """One request's figures as far as the page shows them, in µs."""
    names = (
        "queue_us", "prefill_us", "ttft_us", "decode_us", "recovery_us", "latency_us", "tpot_us",
        "itl_p50_us", "itl_p95_us", "itl_max_us", "batch_mean", "prompt_tokens", "cached_tokens",
        "completion_tokens", "continued_tokens", "attempts_used", "worker", "device", "dtype",
    )  # fmt: skip
    seed = generation.sampling.get("seed")
    shown = {name: getattr(generation, name) for name in names}
    return shown | {"seed": None if seed is None else str(seed)}  # JavaScript has 53 bits
