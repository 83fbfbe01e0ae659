"""Where the text of each token stands in the text of its answer.

Counts code points in the whole text, before anything is held back: what a stop string hides later
doesn't move it. The detokenizer makes its text here too, so that text, offsets and tokens can all
be cut at the same places.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from inference.text.clean import REPLACEMENT
from inference.text.pieces import Pieces


@dataclass(frozen=True, slots=True)
class Span:
    """`text` is what the token completed; `start` where the character of its first byte stands.

    A token that gives no text, such as a special one, starts where the next text goes. Several
    tokens that share the bytes of one character start at the same place, and the last of them
    completes it.
    """

    start: int
    text: str


class SpanReader:
    """Feed it the tokens of one text in order. `length` counts the code points completed so far.

    The parameters are those of Detokenizer.
    """

    def __init__(
        self,
        pieces: Pieces,
        *,
        skip_special_tokens: bool = True,
        keeps_first_space: bool = False,
    ) -> None:
        self.length = 0
        self._pending = b""  # of a character that isn't complete
        self._pieces = pieces
        self._skips_special = skip_special_tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = pieces.strips_first_space and not keeps_first_space

    def feed(self, token_id: int) -> Span:
        """The place of the next token, by the bytes of its vocabulary's piece."""
        raw = self._pieces[token_id] if self._skips_special else self._pieces.spelled(token_id)
        return self.feed_bytes(raw)

    def feed_bytes(self, raw: bytes) -> Span:
        """The same for a token that stands for these bytes."""
        start = self.length
        if self._pending and raw:
            head = self._decode(raw[:1])
            if head and not self._completes(raw[:1]):
                start += 1  # what was pending is U+FFFD, and no part of this token
            text = head + self._decode(raw[1:])
        else:
            text = self._decode(raw)
        self._pending = self._decoder.getstate()[0]
        if self._strip_space and text:
            self._strip_space = False
            text = text.removeprefix(" ")
        self.length += len(text)
        return Span(start, text)

    def finish(self) -> str:
        """U+FFFD for an unfinished character at the end, or nothing."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._pending = b""
        self.length += len(text)
        return text

    def _completes(self, byte: bytes) -> bool:
        """Whether the pending bytes and this one are a character."""
        try:
            (self._pending + byte).decode()
        except UnicodeDecodeError:
            return False
        return True

    def _decode(self, raw: bytes) -> str:
        return self._decoder.decode(raw).replace("\0", REPLACEMENT)
