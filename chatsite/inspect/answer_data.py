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
from chatsite.generation.models import Generation
from chatsite.inspect.cache_saving import saved_by_cache
from chatsite.inspect.prompt import prompt_data
from chatsite.inspect.tokens import Tokens, texts_of, tokens_of
from chatsite.inspect.versions import versions_of
from inference import client
from inference.contract import NO_TOKEN


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
        "versions": versions_of(answer, tokens, text),
        "prompt": prompt,
    }


def columns_of(tokens: Tokens) -> dict[str, str]:
    """Every column, in base64."""
    names = tokens.table.dtype.names or ()
    columns: dict[str, npt.NDArray[Any]] = {name: tokens.table[name] for name in names}
    columns |= {"is_known": tokens.is_known, "gap_us": tokens.gaps_us}
    return {name: base64.b64encode(c.tobytes()).decode() for name, c in columns.items()}


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
