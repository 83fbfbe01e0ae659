"""Log-probabilities in the two shapes of OpenAI's API."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chatsite.api.choices import ShownToken
from chatsite.api.schemas.chat import ChatLogprobs, TokenLogprob, TopLogprob
from chatsite.api.schemas.completions import Logprobs
from inference import client
from inference.contract import TokenLogprobs

LEAST = -9999.0  # JSON has no minus infinity; this is what OpenAI sends


def token_bytes(text: client.TextModel, token_id: int) -> bytes:
    """What the token stands for; a special token stands for its own name."""
    return text.vocabulary.pieces[token_id] or (text.vocabulary.token(token_id) or "").encode()


def token_text(raw: bytes, *, mark: str = "") -> str:
    """The token as text; part of a character is written as its bytes, after `mark`."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return mark + "".join(f"\\x{byte:02x}" for byte in raw)


def chat_logprobs(text: client.TextModel, tokens: Sequence[ShownToken]) -> ChatLogprobs:
    """`logprobs` of chat completions: one entry per token, with its bytes and the likeliest."""
    content: list[TokenLogprob] = []
    for token in tokens:
        if token.logprobs is not None:
            top = [_top(text, other, value) for other, value in token.logprobs.top]
            one = _top(text, token.id, token.logprobs.chosen)
            content.append({**one, "top_logprobs": top})
    return {"content": content, "refusal": None}


def _top(text: client.TextModel, token_id: int, logprob: float) -> TopLogprob:
    raw = token_bytes(text, token_id)
    return {"token": token_text(raw), "logprob": finite(logprob), "bytes": list(raw)}


def completion_logprobs(
    text: client.TextModel,
    token_ids: Sequence[int],
    each: Sequence[TokenLogprobs | None],
    *,
    offset: int,
    top: int,
) -> Logprobs:
    """`logprobs` of completions: parallel lists. `offset` is where the first token begins."""
    detokenizer = text.detokenizer()
    reply: Logprobs = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [] if top else None,
        "text_offset": [],
    }
    for token_id, logprobs in zip(token_ids, each, strict=True):
        name = token_text(token_bytes(text, token_id), mark="bytes:")
        reply["tokens"].append(name)
        reply["text_offset"].append(offset + detokenizer.offset)
        detokenizer.feed(token_id)
        reply["token_logprobs"].append(finite(logprobs.chosen) if logprobs else None)
        if reply["top_logprobs"] is not None:
            reply["top_logprobs"].append(_by_name(text, name, logprobs))
    return reply


def _by_name(
    text: client.TextModel, name: str, logprobs: TokenLogprobs | None
) -> dict[str, float] | None:
    """The likeliest tokens and the chosen one; of two that read alike, the likelier."""
    if logprobs is None:
        return None
    found = {name: finite(logprobs.chosen)}
    for token_id, value in logprobs.top:
        other = token_text(token_bytes(text, token_id), mark="bytes:")
        found[other] = max(finite(value), found.get(other, LEAST))
    return found


def finite(value: float) -> float:
    return value if math.isfinite(value) else LEAST
