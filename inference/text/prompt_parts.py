"""Tells which of a prompt's tokens came from which message, and which are the template's own.

The template is rendered once more with a mark in place of each content; what stands between the
marks is its own. Nothing is tokenised again: the tokens are those that the model saw.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence

from inference.text.clean import clean
from inference.text.template import Message

Render = Callable[[Sequence[Message]], str]


def owners(
    pieces: Sequence[bytes], messages: Sequence[Message], render: Render
) -> list[int | None] | None:
    """Of each token, as its bytes, the index of the message that it is of; None: the template's.

    A token that a content shares with the template is the content's. None for the whole where
    prompt and template don't fit together, because one of them has changed since.
    """
    secret = secrets.token_hex(8)
    marks = [{**message, "content": f"Part{secret}n{n}End"} for n, message in enumerate(messages)]
    try:
        skeleton = render(marks)
    except ValueError:
        return None
    parts = re.split(f"Part{secret}n([0-9]+)End", skeleton)
    literals = [literal.encode() for literal in parts[::2]]
    order = [int(number) for number in parts[1::2]]
    contents = [clean(str(messages[n]["content"])).encode() for n in order]
    are_fixed = [messages[n]["role"] in ("system", "developer") for n in order]
    ranges = _ranges(b"".join(pieces), literals, list(zip(contents, are_fixed, strict=True)))
    if ranges is None:
        return None
    found: list[int | None] = []
    at = 0
    spans = [(begin, end, n) for (begin, end), n in zip(ranges, order, strict=True)]
    for piece in pieces:
        end = at + len(piece)
        found.append(next((n for b, e, n in spans if at < e and b < end), None))
        at = end
    return found


def _ranges(
    text: bytes, literals: Sequence[bytes], contents: Sequence[tuple[bytes, bool]]
) -> list[tuple[int, int]] | None:
    """Where each content stands in the text: literal, content, literal, …, literal.

    A fixed one, a system prompt that may be another by now, must be there as it is.
    """
    if not text.startswith(literals[0]):
        return None
    at = len(literals[0])
    ranges: list[tuple[int, int]] = []
    for (content, is_fixed), following in zip(contents, literals[1:], strict=True):
        is_last = len(ranges) == len(contents) - 1
        for form in (content, content.strip()):
            end = at + len(form)
            if text.startswith(form + following, at):
                break
        else:  # the template has changed what was written: its next literal ends it
            end = len(text) - len(following) if is_last else text.find(following, at)
            if is_fixed or end < at or not following or not text.startswith(following, end):
                return None
        ranges.append((at, end))
        at = end + len(following)
    return ranges if at == len(text) else None
