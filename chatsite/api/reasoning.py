"""Parts what a thinking model thinks from what it says.

Such models write <think>…</think> before the answer; some templates open it in the prompt already.
A <think> later in the text is text. Tags may arrive in pieces; what may be the beginning of one is
held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from inference import client

OPEN, CLOSE = "<think>", "</think>"


class Place(Enum):
    BEFORE = "before"  # nothing but white space so far
    INSIDE = "inside"
    AFTER = "after"


def thinks(text: client.TextModel) -> bool:
    """Whether the model's vocabulary has the end of a thought."""
    return text.vocabulary.id_of(CLOSE) is not None


def begins_inside(text: client.TextModel, prompt: Sequence[int]) -> bool:
    """Whether the prompt ends with an opened thought."""
    open_id, close_id = text.vocabulary.id_of(OPEN), text.vocabulary.id_of(CLOSE)
    tail = prompt[-3:]
    return open_id in tail and close_id not in tail


class ReasoningSplit:
    """Feed it text; it gives back (reasoning, content)."""

    def __init__(self, *, begins_inside: bool = False) -> None:
        self._place = Place.INSIDE if begins_inside else Place.BEFORE
        self._held = ""
        self._is_fresh = True  # at the beginning of a part, where line ends are left out

    @property
    def is_inside(self) -> bool:
        return self._place is Place.INSIDE

    def feed(self, text: str, *, is_end: bool = False) -> tuple[str, str]:
        text, self._held = self._held + text, ""
        reasoning = ""
        if self._place is Place.BEFORE:
            start = text.lstrip()
            if OPEN.startswith(start[: len(OPEN)]) and len(start) < len(OPEN) and not is_end:
                self._held = text
                return "", ""
            if start.startswith(OPEN):
                self._place, text = Place.INSIDE, start[len(OPEN) :]
            else:
                self._place, self._is_fresh = Place.AFTER, False
        if self._place is Place.INSIDE:
            before, found, after = text.partition(CLOSE)
            if not found:
                keep = 0 if is_end else _overlap(text, CLOSE)
                self._held = text[len(text) - keep :]
                return self._part(text[: len(text) - keep]), ""
            reasoning = self._part(before)
            self._place, self._is_fresh, text = Place.AFTER, True, after
        return reasoning, self._part(text)

    def _part(self, text: str) -> str:
        if self._is_fresh:
            text = text.lstrip("\n")
            self._is_fresh = not text
        return text


def _overlap(text: str, tag: str) -> int:
    """The length of the longest end of `text` that begins `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            return length
    return 0
