"""Text as the search sees it: folded, cut into words, and found again in what people wrote.

Both databases get the same words, made here: width and compatibility forms (NFKC), case (casefold)
and accents make no difference. Scripts that put no blanks between words (Chinese, Japanese, Thai
and others) and Korean, whose particles stick to words, are cut into single characters, so that a
phrase of characters finds any part of a sentence.

Nothing here knows a database; the index is search_index.py, the language search_query.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

WINDOW_CHARS = 2_000
OVERLAP_CHARS = 200

SINGLE_CHARACTERS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U000323af"
)
_single = re.compile(f"[{SINGLE_CHARACTERS}]")
# Accents, points and vowel signs that people leave out. Not every mark: か and が are two letters.
_accents = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0640"
    "\u00ad\u200b-\u200f\u2060\ufeff]"
)
_letters = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe"})


def fold(text: str) -> str:
    """The text without case, accents, width and compatibility forms."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = _accents.sub("", unicodedata.normalize("NFKD", folded))
    return unicodedata.normalize("NFC", folded.translate(_letters))


def words_of(text: str) -> list[str]:
    """The folded words of a text in order."""
    return fold(text).translate(_cut).split()


class _Cut(dict[int, str]):
    """Letters, marks and digits stay, single characters stand apart, all else becomes a blank."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if _single.match(character):
            kept = f" {character} "
        else:
            kept = character if unicodedata.category(character)[0] in "LMN" else " "
        self[code] = kept
        return kept


_cut = _Cut()


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand side by side. The last one may go on when the term is a prefix."""

    words: tuple[str, ...]
    is_prefix: bool

    @classmethod
    def of(cls, text: str, *, is_quoted: bool) -> Term | None:
        """The term of a written word or phrase; None where there is no letter and no digit."""
        words = tuple(words_of(text))
        if not words:
            return None
        is_open = fold(text).rstrip().endswith(words[-1])  # "c++" is no beginning of "cats"
        return cls(words, is_open and not is_quoted and not _single.match(words[-1]))


def spans_in(text: str, terms: Iterable[Term], *, limit: int = 50) -> list[tuple[int, int]]:
    """Where the terms stand in `text`: sorted, not overlapping, at most `limit` of them."""
    pattern = _pattern(tuple(terms))
    if pattern is None:
        return []
    spans: list[tuple[int, int]] = []
    for start in range(0, max(1, len(text)), WINDOW_CHARS):
        window = text[start : start + WINDOW_CHARS + OVERLAP_CHARS]
        for first, last in _spans_in_window(window, pattern):
            begins, ends = start + first, start + last
            if first < WINDOW_CHARS and (not spans or begins >= spans[-1][1]):
                spans.append((begins, ends))
        if len(spans) >= limit:
            break
    return spans[:limit]


def _spans_in_window(text: str, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    if text.isascii():
        return [match.span() for match in pattern.finditer(text.lower())]
    folded: list[str] = []
    at: list[int] = []
    ends: list[int] = []
    for match in _clusters.finditer(text):
        piece = fold(match.group())
        folded.append(piece)
        if match["ascii"]:  # each character stays one
            at += range(match.start(), match.end())
            ends += range(match.start() + 1, match.end() + 1)
        else:
            at += [match.start()] * len(piece)
            ends += [match.end()] * len(piece)
    return [
        (at[match.start()], ends[match.end() - 1])
        for match in pattern.finditer("".join(folded))
        if match.end() > match.start()
    ]


# A character with what is written onto it: marks, and the later parts of a Korean syllable. Plain
# ASCII as far as it goes.
_onto = (
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u1160-\u11ff"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f]"
)
_clusters = re.compile(f"(?P<ascii>[\\x00-\\x7f]+(?!{_onto}))|[\\s\\S]{_onto}*")


@cache
def _pattern(terms: Sequence[Term]) -> re.Pattern[str] | None:
    parts = sorted({_written(term) for term in terms}, key=len, reverse=True)
    return re.compile("|".join(parts)) if parts else None


def _written(term: Term) -> str:
    """A pattern that finds the term in folded text."""
    written = "" if _single.match(term.words[0]) else r"(?<![^\W_])"
    for before, word in zip(("", *term.words), term.words, strict=False):
        if before:
            is_apart = not (_single.match(before) or _single.match(word))
            written += r"[\W_]+" if is_apart else r"[\W_]*"
        written += re.escape(word)
    if not term.is_prefix and not _single.match(term.words[-1]):
        written += r"(?![^\W_])"
    return written


@dataclass(frozen=True, slots=True)
class Snippet:
    """A part of a message on one line; `marks` are the hits in it, in code points."""

    text: str
    marks: tuple[tuple[int, int], ...]


def snippet(text: str, terms: Sequence[Term], *, chars: int, before: int) -> Snippet:
    """About `chars` of `text`, in which the first hit has at most `before` characters ahead."""
    spans = spans_in(text, terms, limit=1)
    start = _word_start(text, spans[0][0], before) if spans else 0
    end = min(len(text), start + chars)
    line = " ".join(text[start:end].split())
    if start:
        line = f"…{line}"
    if end < len(text):
        line = f"{line} …"
    return Snippet(line, tuple(spans_in(line, terms)))


def _word_start(text: str, hit: int, before: int) -> int:
    """The start of the earliest whole word that lies at most `before` characters ahead of a hit."""
    if hit <= before:
        return 0
    ahead = text[hit - before : hit]
    blank = re.search(r"\s", ahead)
    if text[hit - before - 1].isspace():
        return hit - before
    return hit - before + blank.end() if blank else hit
