"""Log-probabilities in the two shapes of OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatsite.api.schemas.chat_completions import ChatLogprobs, TokenLogprob, TopLogprob
from chatsite.api.schemas.replies import PromptLogprobs
from chatsite.api.schemas.text_completions import Logprobs
from chatsite.api.serving.choice import AnswerToken
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
    text: client.TextModel,
    tokens: Sequence[AnswerToken],
    *,
    as_ids: bool = False,
    skip_special_tokens: bool = True,
) -> ChatLogprobs:
    """`logprobs` of chat completions: one entry per token, with its bytes and the likeliest.

    The `bytes` of all entries together are the text; a token without text has null. `as_ids` names
    tokens by their ids, which no two share.
    """

    def told(token_id: int, logprob: float) -> TopLogprob:
        raw = token_bytes(text, token_id)
        has_text = text.vocabulary.pieces[token_id] or not skip_special_tokens
        name = id_name(token_id) if as_ids else token_text(raw)
        return {
            "token": name,
            "logprob": finite(logprob),
            "bytes": list(raw) if has_text else None,
        }

    content: list[TokenLogprob] = []
    for token in tokens:
        if token.logprobs is not None:
            top = [told(other, value) for other, value in token.logprobs.top]
            one = told(token.id, token.logprobs.chosen)
            content.append({**one, "top_logprobs": top})
    return {"content": content, "refusal": None}


def id_name(token_id: int) -> str:
    return f"token_id:{token_id}"


def completion_logprobs(
    text: client.TextModel,
    tokens: Sequence[AnswerToken],
    *,
    offset: int,
    top: int,
    as_ids: bool = False,
) -> Logprobs:
    """`logprobs` of completions: parallel lists. `offset` is the length of what stands before."""

    def name_of(token_id: int) -> str:
        if as_ids:
            return id_name(token_id)
        return token_text(token_bytes(text, token_id), mark="bytes:")

    names = [name_of(token.id) for token in tokens]
    return {
        "tokens": names,
        "token_logprobs": [finite(t.logprobs.chosen) if t.logprobs else None for t in tokens],
        "top_logprobs": [
            _by_name(name, token.logprobs, top, name_of)
            for name, token in zip(names, tokens, strict=True)
        ]
        if top
        else None,
        "text_offset": [offset + token.start for token in tokens],
    }


def prompt_tokens(
    text: client.TextModel,
    token_ids: Sequence[int],
    each: Sequence[TokenLogprobs | None],
    *,
    shown: str,
) -> list[AnswerToken]:
    """The records of a prompt's tokens in `shown`, the prompt's text as it is echoed.

    A special token stands there by its name if somebody wrote it; one that the tokenizer put in
    has no text.
    """
    pieces = text.vocabulary.pieces
    reader = text.span_reader()
    tokens = []
    for token_id, logprobs in zip(token_ids, each, strict=True):
        raw = pieces[token_id]
        if not raw and (name := pieces.spelled(token_id)):
            raw = name if shown.startswith(name.decode(), reader.length) else b""
        tokens.append(AnswerToken(token_id, reader.feed_bytes(raw).start, logprobs))
    return tokens


def _by_name(
    name: str, logprobs: TokenLogprobs | None, top: int, name_of: Callable[[int], str]
) -> dict[str, float] | None:
    """The likeliest tokens and the chosen one; of two that read alike, the likelier."""
    if logprobs is None:
        return None
    found = {name: finite(logprobs.chosen)}
    for token_id, value in logprobs.top[:top]:
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
