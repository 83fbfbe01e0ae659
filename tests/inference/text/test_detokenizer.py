"""Answers as they stream: whole characters, no half stop strings, and nothing lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from inference.text import Detokenizer, TextModel, load_text
from inference.text.stops import StopSearch

TEXTS = [
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽",
    "مرحبا بالعالم, שלום עולם",
    "漢字かな交じり文 – naïve café",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0010ffff é",
    "plain words\n\n\tand code: x += 1\r\n",
]


def feed_all(detokenizer: Detokenizer, tokens: Sequence[int]) -> list[str]:
    return [*(detokenizer.feed(token) for token in tokens), detokenizer.finish()]


@pytest.mark.parametrize("written", TEXTS)
def test_characters_split_over_tokens_come_whole(text: TextModel, written: str) -> None:
    parts = feed_all(text.detokenizer(), text.encode(written))
    assert "".join(parts) == written
    assert not any("\ufffd" in part for part in parts)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_parts_together_are_the_decoded_whole(family: Path, data: st.DataObject) -> None:
    text = load_text(family)
    tokens = data.draw(st.lists(st.integers(0, text.vocab_size + 3), max_size=40))
    detokenizer = text.detokenizer()
    parts = feed_all(detokenizer, tokens)
    assert "".join(parts) == text.decode(tokens).replace("\0", "\ufffd")
    assert detokenizer.offset == len("".join(parts))


def test_a_nul_that_a_model_says_is_given_as_people_s_are(text: TextModel) -> None:
    parts = feed_all(text.detokenizer(), text.encode("a\0b"))
    assert "".join(parts) == "a\ufffdb"


@settings(max_examples=300, deadline=None)
@given(tokens=st.lists(st.integers(0, 49151), max_size=40))
def test_the_decoded_whole_is_that_of_tokenizers(
    text: TextModel, default_tokenizer: Tokenizer, tokens: list[int]
) -> None:
    decoded = default_tokenizer.decode(tokens, skip_special_tokens=True)
    assert text.decode(tokens) == decoded.replace("\0", "\ufffd")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(written=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_what_goes_in_comes_out(make_folder: Callable[[str], Path], written: str) -> None:
    byte_level, spaced = load_text(make_folder("chatml")), load_text(make_folder("no-system"))
    expected = written.replace("\0", "\ufffd")
    assert byte_level.decode(byte_level.encode(written)) == expected
    # Such a vocabulary writes "a" and " a" alike, and reads both as "a".
    assert spaced.decode(spaced.encode(written)) == expected.removeprefix(" ")


def test_an_unfinished_character_is_told_only_at_the_end(text: TextModel) -> None:
    tokens = text.encode("👍")
    assert len(tokens) > 1
    detokenizer = text.detokenizer()
    assert [detokenizer.feed(token) for token in tokens[:-1]] == [""] * (len(tokens) - 1)
    assert detokenizer.finish() == "\ufffd"


def test_end_tokens_give_no_text_and_break_no_character(text: TextModel) -> None:
    tokens = text.encode("👍")
    assert text.decode([*tokens[:1], 2, *tokens[1:], 2]) == "👍"


@settings(max_examples=150, deadline=None)
@given(
    written=st.text("ab.é", max_size=30),
    stops=st.lists(st.text("ab.é", min_size=1, max_size=5), max_size=3),
    cut=st.integers(0, 30),
)
def test_a_resumed_answer_goes_on_exactly(
    text: TextModel, written: str, stops: list[str], cut: int
) -> None:
    tokens = text.encode(written)
    whole = text.detokenizer(stop=stops)
    parts = [whole.feed(token) for token in tokens]
    rebuilt = text.detokenizer(stop=stops)
    for token in tokens[:cut]:
        rebuilt.feed(token)
    assert rebuilt.offset == len("".join(parts[:cut]))
    assert [rebuilt.feed(token) for token in tokens[cut:]] == parts[cut:]
    assert (rebuilt.finish(), rebuilt.stopped) == (whole.finish(), whole.stopped)


@settings(max_examples=400, deadline=None)
@given(
    parts=st.lists(st.text("abc", max_size=6), max_size=8),
    stops=st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_no_part_of_a_stop_string_is_ever_shown(parts: list[str], stops: list[str]) -> None:
    search = StopSearch(stops)
    shown = "".join(search.push(part) for part in parts)
    written = "".join(parts)
    # The definition, without any cleverness: the first place where a stop string ends.
    for end in range(len(written) + 1):
        ended = [stop for stop in stops if written[:end].endswith(stop)]
        if ended:
            longest = max(ended, key=len)
            assert search.found == longest
            assert shown == written[: end - len(longest)]
            return
    assert search.found is None
    assert shown + search.release() == written


def test_a_stop_string_over_several_tokens_never_leaks_its_beginning(text: TextModel) -> None:
    detokenizer = text.detokenizer(stop=["\n\nUser:"])
    parts = [detokenizer.feed(token) for token in text.encode("Hello there.\n\nUser: hi")]
    assert "".join(parts) == "Hello there."
    assert detokenizer.stopped == "\n\nUser:"
    assert detokenizer.finish() == ""


def test_a_stop_string_that_does_not_come_is_shown_late_but_whole(text: TextModel) -> None:
    detokenizer = text.detokenizer(stop=["\n\nUser:"])
    parts = feed_all(detokenizer, text.encode("Hello.\n\nUs"))
    assert "".join(parts) == "Hello.\n\nUs"
    assert parts[-1] == "\n\nUs"


def test_the_text_of_the_first_min_tokens_is_not_searched(text: TextModel) -> None:
    tokens = text.encode(" one two one two")
    assert len(tokens) == 4
    detokenizer = text.detokenizer(stop=["one"], min_tokens=2)
    assert "".join(feed_all(detokenizer, tokens)) == " one two "
    assert detokenizer.stopped == "one"


def test_sixteen_long_stop_strings_cost_little(text: TextModel) -> None:
    import time

    detokenizer = text.detokenizer(stop=["a" * 255 + chr(98 + n) for n in range(16)])
    tokens = text.encode("a" * 8000)
    begin = time.perf_counter()
    assert "".join(feed_all(detokenizer, tokens)) == "a" * 8000
    assert (time.perf_counter() - begin) / len(tokens) < 0.002


@pytest.mark.parametrize("kind", ["no-system", "concatenated"])
def test_a_text_that_goes_on_keeps_its_first_space(
    make_folder: Callable[[str], Path], kind: str
) -> None:
    spaced = load_text(make_folder(kind))
    tokens = spaced.encode("red blue")
    assert "".join(feed_all(spaced.detokenizer(), tokens)) == "red blue"
    assert "".join(feed_all(spaced.detokenizer(keeps_first_space=True), tokens)) == " red blue"


def test_special_tokens_are_spelled_out_where_that_is_wanted(text: TextModel) -> None:
    tokens = [*text.encode("a"), 2, *text.encode(" 👍")]
    shown = text.detokenizer(skip_special_tokens=False, stop=["<|im_start|>"])
    assert "".join(feed_all(shown, [*tokens, 1])) == "a<|im_end|> 👍"
    assert shown.stopped == "<|im_start|>"
