"""Finds stop strings in text that arrives in parts, and says how much of it is safe to show.

The search goes character by character (Knuth, Morris, Pratt, 1977), so the outcome doesn't depend
on how the text was cut into tokens: the stop string that ends first wins, the longest of those
that end at the same character.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopSearch:
    """Give it text with `push`; it gives back what can be shown.

    Text that may be the beginning of a stop string is held until that is decided. `found` is the
    stop string once one is complete; from then on nothing is given back.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.found: str | None = None
        self._stops = sorted({stop for stop in stops if stop}, key=len, reverse=True)
        self._failures = [_failures(stop) for stop in self._stops]
        self._matched = [0] * len(self._stops)  # characters of each stop that the text ends with
        self._held = ""

    def push(self, text: str) -> str:
        if self.found is not None:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        for at in range(len(self._held), len(text)):
            for which, stop in enumerate(self._stops):
                length = self._advance(which, text[at])
                if length == len(stop):
                    self.found, self._held = stop, ""
                    return text[: at + 1 - length]
        keep = len(text) - max(self._matched)
        self._held = text[keep:]
        return text[:keep]

    def release(self) -> str:
        """What is still held; the text has ended without a stop string."""
        held, self._held = self._held, ""
        return held

    def _advance(self, which: int, letter: str) -> int:
        stop, failures = self._stops[which], self._failures[which]
        length = self._matched[which]
        while length and stop[length] != letter:
            length = failures[length - 1]
        if stop[length] == letter:
            length += 1
        self._matched[which] = length
        return length


def _failures(stop: str) -> list[int]:
    """For each prefix the length of its longest proper prefix that it also ends with."""
    failures = [0] * len(stop)
    length = 0
    for at in range(1, len(stop)):
        while length and stop[at] != stop[length]:
            length = failures[length - 1]
        if stop[at] == stop[length]:
            length += 1
        failures[at] = length
    return failures
