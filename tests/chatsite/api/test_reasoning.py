"""Thoughts are parted from the answer, however the text is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsite.api.serving.reasoning import HARMONY, HarmonySplit, ReasoningSplit, split_of
from inference.text import TextModel, load_text
from tests.support.vocabularies import byte_level


def split(pieces: list[str], *, begins_inside: bool = False) -> tuple[str, str]:
    reader = ReasoningSplit(begins_inside=begins_inside)
    parts = [reader.feed(piece) for piece in pieces] + [reader.feed("", is_end=True)]
    return "".join(p[0] for p in parts), "".join(p[1] for p in parts)


@pytest.mark.parametrize(
    ("text", "inside", "reasoning", "content"),
    [
        ("<think>\nA\n</think>\n\nB", False, "A\n", "B"),
        ("A</think>B", True, "A", "B"),
        ("B", False, "", "B"),
        ("  <thin", False, "", "  <thin"),
        ("<think>A", False, "A", ""),
        ("B <think>C</think>", False, "", "B <think>C</think>"),
        ("<think>A</think>B</think>", False, "A", "B</think>"),
        ("", False, "", ""),
    ],
)
def test_thoughts_and_answer(text, inside, reasoning, content):
    assert split([text], begins_inside=inside) == (reasoning, content)


@given(
    text=st.lists(st.sampled_from(["<think>", "</think>", "<", "th", "\n", "a", " "])).map("".join),
    cuts=st.lists(st.integers(0, 60)),
    inside=st.booleans(),
)
def test_the_cuts_do_not_matter(text, cuts, inside):
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    assert split(pieces, begins_inside=inside) == split([text], begins_inside=inside)


def harmony(pieces: list[str], *, channel: str | None = None) -> tuple[str, str]:
    reader = HarmonySplit(channel=channel)
    parts = [reader.feed(piece) for piece in pieces] + [reader.feed("", is_end=True)]
    return "".join(p[0] for p in parts), "".join(p[1] for p in parts)


@pytest.mark.parametrize(
    ("text", "channel", "reasoning", "content"),
    [
        ("<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
         None, "A", "B"),
        ("<|channel|>commentary to=functions.x <|constrain|>json<|message|>{}<|call|>", None, "{}", ""),
        ("<|channel|>final<|message|>B", None, "", "B"),
        ("<|channel|>analysis<|message|>A", None, "A", ""),
        ("B", None, "", "B"),
        ("A<|end|><|start|>assistant<|channel|>final<|message|>B", "analysis", "A", "B"),
        ("B <|en", "final", "", "B <|en"),
        ("<|channel|>final<|message|>1 <| 2", None, "", "1 <| 2"),
    ],
)  # fmt: skip
def test_channels_are_parted(text, channel, reasoning, content):
    assert harmony([text], channel=channel) == (reasoning, content)


@given(
    text=st.lists(st.sampled_from([*HARMONY, "<|", "final", "analysis", "<", "a", " ", "|>"])).map(
        "".join
    ),
    cuts=st.lists(st.integers(0, 120)),
)
def test_the_cuts_of_channels_do_not_matter(text, cuts):
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    assert harmony(pieces) == harmony([text])


@pytest.fixture
def speaker(tmp_path) -> TextModel:
    return load_text(byte_level(tmp_path / "gpt-oss", special=HARMONY))


def written(text: TextModel, *parts: str) -> list[int]:
    """Tokens of marks and of letters."""
    spelled = "".join(text.vocabulary.spell(p) if p in HARMONY else p for p in parts)
    return text.vocabulary.encode_spelled(spelled)


@pytest.mark.parametrize(
    ("prompt", "answer", "reasoning", "content"),
    [
        (["<|start|>", "assistant"],
         ["<|channel|>", "analysis", "<|message|>", "Hm.", "<|end|>", "<|start|>", "assistant",
          "<|channel|>", "final", "<|message|>", "Ja."], "Hm.", "Ja."),
        (["<|start|>", "assistant", "<|channel|>", "analysis", "<|message|>", "H"],
         ["m.", "<|end|>", "<|start|>", "assistant", "<|channel|>", "final", "<|message|>", "Ja."],
         "m.", "Ja."),
        (["<|start|>", "assistant", "<|channel|>", "final", "<|message|>", "J"], ["a."], "", "a."),
    ],
)  # fmt: skip
def test_tokens_of_channels_are_parted(speaker, prompt, answer, reasoning, content):
    split = split_of(speaker, written(speaker, *prompt))
    detokenizer = speaker.detokenizer(skip_special_tokens=False)
    parts = [split.feed(detokenizer.feed(token)) for token in written(speaker, *answer)]
    parts.append(split.feed(detokenizer.finish(), is_end=True))
    assert "".join(p[0] for p in parts) == reasoning
    assert "".join(p[1] for p in parts) == content


def test_a_model_without_marks_is_not_parted(tmp_path):
    assert split_of(load_text(byte_level(tmp_path / "plain")), [1, 2]) is None
