"""One record per token: whatever the text and the stops, a stream says what the whole reply says.

The answers are made by the engine's own detokeniser from random tokens, whole characters, parts of
them and special ones; no stack is needed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatsite.api.schemas.chat_completions import ChatBody
from chatsite.api.schemas.text_completions import CompletionBody
from chatsite.api.serving.choice import Choice
from chatsite.api.serving.formats import ChatFormat, CompletionFormat
from chatsite.api.serving.reasoning import ReasoningSplit
from inference.contract import (
    Delta,
    Event,
    FinishReason,
    GenerationRequest,
    Result,
    SamplingParams,
    Stamp,
    TokenLogprobs,
)
from inference.text import TextModel, load_text
from tests.support.vocabularies import byte_level

PIECES = [
    b"ab", b"abc", b"bc", b"c ", b" a", "é".encode(), "é".encode()[:1], "éa".encode()[1:],
    "中".encode(), "中".encode()[:2], "中b".encode()[2:], b"a\xf0\x9f", b"\x98\x80", b"\xff",
    b"\0", b"<think>", b"</think>", b"</th", b"\n\n", "\u2028".encode(),
]  # fmt: skip
END = "<|end|>"
OTHER = "<|other|>"


def _vocabulary() -> TextModel:
    with tempfile.TemporaryDirectory() as folder:
        return load_text(byte_level(Path(folder) / "m", special=[END, OTHER], pieces=PIECES))


TEXT = _vocabulary()
TEXT.eos_token_ids = frozenset([TEXT.vocab_size - 2])
END_ID, OTHER_ID = TEXT.vocab_size - 2, TEXT.vocab_size - 1
tokens = st.lists(
    st.one_of(st.integers(256, TEXT.vocab_size - 3), st.sampled_from([*range(60, 72), OTHER_ID])),
    max_size=24,
)
stops = st.lists(st.text("abc é中\ufffd<", min_size=1, max_size=4), max_size=3)


@dataclass(frozen=True)
class Asked:
    """One answer: its tokens, what ends it, and how it is cut into events."""

    token_ids: tuple[int, ...]
    stop: tuple[str, ...] = ()
    end_id: int | None = None  # follows behind the tokens, unless a stop string comes first
    shows_stop: bool = False
    skips_special: bool = True
    min_tokens: int = 0
    cuts: int = 1
    thinks: bool = False


asked_for = st.builds(
    Asked,
    token_ids=tokens.map(tuple),
    stop=stops.map(tuple),
    end_id=st.sampled_from([None, END_ID, 257, 300]),
    shows_stop=st.booleans(),
    skips_special=st.booleans(),
    min_tokens=st.integers(0, 3),
    cuts=st.integers(1, 4),
    thinks=st.booleans(),
)


def sampling_of(asked: Asked) -> SamplingParams:
    return SamplingParams(
        stop=asked.stop,
        min_tokens=asked.min_tokens,
        skip_special_tokens=asked.skips_special,
        stop_token_ids=() if asked.end_id in (None, END_ID) else (asked.end_id,),
        logprobs=1,
    )


def events_of(asked: Asked) -> Iterator[Event]:
    """What the engine tells of it; `cuts` tokens at a time where the queue lies between."""
    sampling = sampling_of(asked)
    detokenizer = TEXT.detokenizer(
        stop=asked.stop,
        min_tokens=asked.min_tokens,
        skip_special_tokens=asked.skips_special,
    )
    ends = {*TEXT.eos_token_ids, *sampling.stop_token_ids}
    made = [token for token in asked.token_ids if token not in ends]
    made += [] if asked.end_id is None else [asked.end_id]
    position = offset = 0
    reason = FinishReason.LENGTH
    ids: list[int] = []
    text = ""
    deltas = []

    def told() -> Delta:
        return Delta(
            request_id="r", attempt=1, position=position, token_ids=tuple(ids), text=text,
            text_offset=offset, mono_ns=0, logprobs=tuple(TokenLogprobs(-0.5, -0.5, ((t, -0.5),)) for t in ids),
        )  # fmt: skip

    for token in made:
        ids.append(token)
        if token in ends:
            reason = FinishReason.STOP
        else:
            text += detokenizer.feed(token)
        if len(ids) == asked.cuts:
            deltas.append(told())
            position, offset, ids, text = position + len(ids), offset + len(text), [], ""
        if detokenizer.stopped or reason is FinishReason.STOP:
            break
    if ids:
        deltas.append(told())
        offset += len(text)
    tail = "" if detokenizer.stopped else detokenizer.finish()
    stopped = detokenizer.stopped
    yield from deltas
    yield Result(
        request_id="r", attempt=1, finish_reason=FinishReason.STOP if stopped else reason,
        stop_string=stopped, text_tail=tail, text_offset=offset,
    )  # fmt: skip


def replies(asked: Asked, *, is_chat: bool) -> tuple[list[Any], Any, Choice]:
    """The chunks of a stream, the whole reply's choice, and what both were made of."""
    request = GenerationRequest(
        request_id="r", model="m", prompt_token_ids=(1,), sampling=sampling_of(asked),
        received=Stamp.now(),
    )  # fmt: skip
    choice = Choice(
        index=0, prompt_index=0, request=request, text=TEXT, shows_stop=asked.shows_stop,
        split=ReasoningSplit() if asked.thinks and is_chat else None,
    )  # fmt: skip
    run = SimpleNamespace(
        id="r",
        model=SimpleNamespace(slug="m", version=1),
        choices=[choice],
        usage=dict,
        timings=dict,
    )
    more = {"model": "m", "return_token_ids": True, "logprobs": True if is_chat else 1}
    form: Any
    if is_chat:
        messages = [{"role": "user", "content": "x"}]
        body = ChatBody.model_validate({**more, "messages": messages, "top_logprobs": 1})
        form = ChatFormat(run, body)
    else:
        form = CompletionFormat(run, CompletionBody.model_validate({**more, "prompt": "x"}), [])
    chunks = []
    for event in events_of(asked):
        piece = choice.take(event)
        if piece is not None:
            chunks.append(form.chunk(choice, piece)["choices"][0])
    return chunks, form.whole()["choices"][0], choice


@settings(deadline=None, max_examples=200)
@given(asked=asked_for)
@example(asked=Asked((256, 258), stop=("cb",), shows_stop=True))
@example(asked=Asked((257,), stop=("c",)))
def test_a_streamed_completion_is_the_whole_one(asked: Asked) -> None:
    chunks, whole, _choice = replies(asked, is_chat=False)
    text = whole["text"]
    assert "".join(chunk["text"] for chunk in chunks) == text
    assert [i for chunk in chunks for i in chunk["token_ids"]] == whole["token_ids"]
    for column, values in whole["logprobs"].items():
        streamed = [v for c in chunks if c["logprobs"] for v in c["logprobs"][column] or ()]
        assert streamed == values, column
    assert (chunks[-1]["finish_reason"], chunks[-1]["stop_reason"]) == (
        whole["finish_reason"], whole["stop_reason"],
    )  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(asked=asked_for)
@example(asked=Asked((256, 258), stop=("cb",), shows_stop=True))
def test_the_tokens_cover_the_text_at_their_offsets(asked: Asked) -> None:
    _chunks, whole, choice = replies(asked, is_chat=False)
    text, offsets = whole["text"], whole["logprobs"]["text_offset"]
    shown = choice.whole.tokens
    pieces = TEXT.vocabulary.pieces
    raw = [pieces[t.id] if asked.skips_special else pieces.spelled(t.id) for t in shown]
    joined = b"".join(raw).decode("utf-8", "replace").replace("\0", "\ufffd")
    assert joined.startswith(text.rstrip("\ufffd"))
    assert len(joined) >= len(text)
    assert offsets == sorted(offsets)
    for start, piece in zip(offsets, raw, strict=True):
        try:
            words = piece.decode().replace("\0", "\ufffd")
        except UnicodeDecodeError:
            continue  # part of a character
        there = text[start:]
        assert there.startswith(words) or words.startswith(there), (start, piece, text)


@settings(deadline=None, max_examples=200)
@given(asked=asked_for)
def test_a_streamed_chat_is_the_whole_one(asked: Asked) -> None:
    chunks, whole, choice = replies(asked, is_chat=True)
    message = whole["message"]
    deltas = [chunk["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    thoughts = "".join(delta.get("reasoning_content", "") for delta in deltas)
    assert thoughts == message.get("reasoning_content", "")
    assert [i for chunk in chunks for i in chunk["token_ids"]] == whole["token_ids"]
    streamed = [e for c in chunks if c["logprobs"] for e in c["logprobs"]["content"]]
    assert streamed == whole["logprobs"]["content"]
    assert len(choice.transcript.token_ids) == len(whole["token_ids"])
    if not asked.thinks:
        raw = b"".join(bytes(entry["bytes"] or ()) for entry in streamed)
        joined = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
        assert joined.startswith(message["content"].rstrip("\ufffd"))


@settings(deadline=None, max_examples=200)
@given(asked=asked_for, cuts=st.integers(1, 8))
def test_reasoning_is_counted_by_tokens_however_events_are_cut(asked: Asked, cuts: int) -> None:
    one = replies(asked, is_chat=True)[2]
    other = replies(Asked(**{**vars(asked), "cuts": cuts}), is_chat=True)[2]
    assert one.reasoning_tokens == other.reasoning_tokens


@pytest.mark.parametrize("shows_stop", [True, False])
def test_a_token_of_which_a_stop_leaves_a_part_is_told(shows_stop: bool) -> None:
    """The letters of "abc" up to a stop "bc" belong to its token, which is told with them."""
    abc = 256 + PIECES.index(b"abc")
    _chunks, whole, _ = replies(Asked((abc,), stop=("bc",), shows_stop=shows_stop), is_chat=False)
    assert whole["text"] == ("abc" if shows_stop else "a")
    assert whole["logprobs"]["tokens"] == ["abc"]
    assert json.dumps(whole)  # it can be sent
