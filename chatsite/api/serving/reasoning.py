"""Separates a reasoning model's thoughts from its answer.

Most such models write <think>…</think> before the answer; some templates open it in the prompt
already. A <think> later in the text is text. gpt-oss writes messages into channels, "final" and
others, each begun and ended by control tokens (OpenAI's harmony format). Marks may arrive in
pieces; what may be the beginning of one is held back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from inference import client

OPEN, CLOSE = "<think>", "</think>"
CHANNEL, MESSAGE = "<|channel|>", "<|message|>"
HARMONY = (CHANNEL, MESSAGE, "<|start|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>")
FINAL = "final"


class Split(Protocol):
    """Feed it text; it gives back (reasoning, content)."""

    @property
    def is_inside(self) -> bool:
        """Whether the next text is reasoning, not answer."""

    def feed(self, text: str, *, is_end: bool = False) -> tuple[str, str]: ...


class Place(Enum):
    BEFORE = "before"  # nothing but white space so far
    INSIDE = "inside"
    AFTER = "after"


def split_of(
    text: client.TextModel, prompt: Sequence[int], *, continues: bool = False
) -> Split | None:
    """How to separate this model's reasoning from its answer; None for a model without reasoning.

    `continues`: the prompt's last message isn't closed, and its reasoning may be long.
    """
    if speaks_harmony(text):
        return HarmonySplit(channel=_open_channel(text, prompt))
    if thinks(text):
        return ReasoningSplit(begins_inside=begins_inside(text, prompt, continues=continues))
    return None


def speaks_harmony(text: client.TextModel) -> bool:
    """Whether the model writes gpt-oss' channels, whose control tokens the text must then spell
    out.
    """
    return all(text.vocabulary.id_of(mark) is not None for mark in (CHANNEL, MESSAGE))


def _open_channel(text: client.TextModel, prompt: Sequence[int]) -> str | None:
    """The channel of the message that the prompt leaves open; None between messages."""
    ids = {text.vocabulary.id_of(mark): mark for mark in HARMONY}
    marks = [(place, ids[token]) for place, token in enumerate(prompt) if token in ids]
    if len(marks) < 2 or marks[-1][1] != MESSAGE or marks[-2][1] != CHANNEL:
        return None
    return text.decode(prompt[marks[-2][0] + 1 : marks[-1][0]])


def thinks(text: client.TextModel) -> bool:
    """Whether the model's vocabulary has the end of a thought."""
    return text.vocabulary.id_of(CLOSE) is not None


def begins_inside(
    text: client.TextModel, prompt: Sequence[int], *, continues: bool = False
) -> bool:
    """Whether the prompt ends with an opened thought."""
    open_id, close_id = text.vocabulary.id_of(OPEN), text.vocabulary.id_of(CLOSE)
    tail = prompt if continues else prompt[-3:]
    last = next((token for token in reversed(tail) if token in (open_id, close_id)), None)
    return last is not None and last == open_id


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


class HarmonySplit:
    """Parts text in which the marks are spelled: content is what stands in the channel "final".

    Text outside of any message is content too, up to the first message: a model that leaves the
    format out is heard.
    """

    MARK = re.compile("|".join(map(re.escape, HARMONY)))

    def __init__(self, *, channel: str | None = None) -> None:
        self._in_message = True
        self._channel = FINAL if channel is None else _name(channel)
        self._names_channel = False
        self._held = ""

    @property
    def is_inside(self) -> bool:
        return not self._in_message or self._channel != FINAL

    def feed(self, text: str, *, is_end: bool = False) -> tuple[str, str]:
        text, self._held = self._held + text, ""
        parts = {True: "", False: ""}  # by whether it is content
        at = 0
        for mark in self.MARK.finditer(text):
            self._take(text[at : mark.start()], parts)
            self._turn(mark[0])
            at = mark.end()
        rest = text[at:]
        keep = 0 if is_end else max(_overlap(rest, mark) for mark in HARMONY)
        self._held = rest[len(rest) - keep :]
        self._take(rest[: len(rest) - keep], parts)
        return parts[False], parts[True]

    def _take(self, text: str, parts: dict[bool, str]) -> None:
        if self._in_message:
            parts[self._channel == FINAL] += text
        elif self._names_channel:
            self._channel += text

    def _turn(self, mark: str) -> None:
        if mark == MESSAGE:
            self._channel = _name(self._channel)
        elif mark == CHANNEL:
            self._channel = ""
        self._in_message = mark == MESSAGE
        self._names_channel = mark == CHANNEL


def _name(channel: str) -> str:
    """The channel's name without a recipient behind it."""
    return (channel.split() or [FINAL])[0]


def _overlap(text: str, tag: str) -> int:
    """The length of the longest end of `text` that begins `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            return length
    return 0
