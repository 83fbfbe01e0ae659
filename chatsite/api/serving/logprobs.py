"""Log-probabilities in the two shapes of OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatsite.api.schemas.chat_completions import ChatLogprobs, TokenLogprob, TopLogprob
from chatsite.api.schemas.replies import PromptLogprobs
from chatsite.api.schemas.text_completions import Logprobs
from chatsite.api.serving.choice import ShownToken
from inference import client
from inference.contract import LOGPROB_FLOOR, TokenLogprobs

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


def chat_logprobs(
    text: client.TextModel, tokens: Sequence[ShownToken], *, as_ids: bool = False
) -> ChatLogprobs:
    """`logprobs` of chat completions: one entry per token, with its bytes and the likeliest.

    `as_ids` names tokens by their ids, which no two share.
    """
    content: list[TokenLogprob] = []
    for token in tokens:
        if token.logprobs is not None:
            top = [_top(text, other, value, as_ids) for other, value in token.logprobs.top]
            one = _top(text, token.id, token.logprobs.chosen, as_ids)
            content.append({**one, "top_logprobs": top})
    return {"content": content, "refusal": None}


def _top(text: client.TextModel, token_id: int, logprob: float, as_ids: bool) -> TopLogprob:
    raw = token_bytes(text, token_id)
    name = id_name(token_id) if as_ids else token_text(raw)
    return {"token": name, "logprob": finite(logprob), "bytes": list(raw)}


def id_name(token_id: int) -> str:
    return f"token_id:{token_id}"


def completion_logprobs(
    text: client.TextModel,
    token_ids: Sequence[int],
    each: Sequence[TokenLogprobs | None],
    *,
    offset: int,
    top: int,
    as_ids: bool = False,
    skip_special_tokens: bool = True,
    is_prompt: bool = False,
) -> Logprobs:
    """`logprobs` of completions: parallel lists. `offset` is where the first token begins."""

    def name_of(token_id: int) -> str:
        if as_ids:
            return id_name(token_id)
        return token_text(token_bytes(text, token_id), mark="bytes:")

    detokenizer = text.detokenizer(
        keeps_first_space=not is_prompt, skip_special_tokens=skip_special_tokens
    )
    reply: Logprobs = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [] if top else None,
        "text_offset": [],
    }
    for token_id, logprobs in zip(token_ids, each, strict=True):
        name = name_of(token_id)
        reply["tokens"].append(name)
        reply["text_offset"].append(offset + detokenizer.offset)
        detokenizer.feed(token_id)
        reply["token_logprobs"].append(finite(logprobs.chosen) if logprobs else None)
        if reply["top_logprobs"] is not None:
            likeliest = () if logprobs is None else logprobs.top[:top]
            chosen = None if logprobs is None else (name, logprobs.chosen)
            reply["top_logprobs"].append(_by_name(chosen, likeliest, name_of))
    return reply


def _by_name(
    chosen: tuple[str, float] | None,
    likeliest: Sequence[tuple[int, float]],
    name_of: Callable[[int], str],
) -> dict[str, float] | None:
    """The likeliest tokens and the chosen one; of two that read alike, the likelier."""
    if chosen is None:
        return None
    found = {chosen[0]: finite(chosen[1])}
    for token_id, value in likeliest:
        other = name_of(token_id)
        found[other] = max(finite(value), found.get(other, LEAST))
    return found


def prompt_logprobs(
    text: client.TextModel, token_ids: Sequence[int], each: Sequence[TokenLogprobs], *, top: int
) -> PromptLogprobs:
    """vLLM's `prompt_logprobs`: of each prompt token, by id, the token itself and the likeliest."""
    reply: PromptLogprobs = [None]
    for token_id, logprobs in zip(token_ids[1:], each, strict=False):
        ranks = {other: n for n, (other, _) in enumerate(logprobs.top[:top], 1)}
        values = {token_id: logprobs.chosen, **dict(logprobs.top[:top])}
        reply.append(
            {
                str(other): {
                    "logprob": finite(value),
                    "rank": ranks.get(other),
                    "decoded_token": token_text(token_bytes(text, other)),
                }
                for other, value in values.items()
            }
        )
    return reply


def finite(value: float) -> float:
    return value if value > LOGPROB_FLOOR else LEAST
