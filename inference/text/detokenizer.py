"""Turns the tokens of one answer into text as they come.

Never gives half a character: bytes wait until their UTF-8 sequence is complete or can't become
valid any more (then they are U+FFFD). Never gives part of a stop string, nor a NUL, which no
database takes: it is U+FFFD, as in people's own text. The state depends on the tokens alone, so a
resumed answer is rebuilt by feeding it the tokens it has.
"""

from __future__ import annotations

from collections.abc import Sequence

from inference.text.pieces import Pieces
from inference.text.spans import SpanReader
from inference.text.stops import StopSearch


class Detokenizer:
    """One answer's text. `offset` counts the code points given so far.

    `stopped` is the stop string that ended the text; it and what follows are never given. The text
    of the first `min_tokens` tokens is not searched for stop strings. Special tokens give no text
    unless `skip_special_tokens` is False. With `keeps_first_space` the text goes on in the middle
    of another, and a space at its beginning is one.
    """

    def __init__(
        self,
        pieces: Pieces,
        *,
        stop: Sequence[str] = (),
        min_tokens: int = 0,
        skip_special_tokens: bool = True,
        keeps_first_space: bool = False,
    ) -> None:
        self.offset = 0
        self._reader = SpanReader(
            pieces, skip_special_tokens=skip_special_tokens, keeps_first_space=keeps_first_space
        )
        self._search = StopSearch(stop)
        self._unsearched = min_tokens

    @property
    def stopped(self) -> str | None:
        return self._search.found

    def feed(self, token_id: int) -> str:
        """The text that this token completes; often the token's own, sometimes none or more."""
        text = self._reader.feed(token_id).text
        if self._unsearched:
            self._unsearched -= 1
        elif text:
            text = self._search.push(text)
        self.offset += len(text)
        return text

    def finish(self) -> str:
        """What was held back: an unfinished character as U+FFFD, a stop string's beginning."""
        tail = self._search.push(self._reader.finish())
        tail += self._search.release()
        self.offset += len(tail)
        return tail
