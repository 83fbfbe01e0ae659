"""What llguidance says of a schema, expression or grammar, in words for its author.

Its own messages name parts of its code and draw the place with carets over several lines. Those
that a wrong schema or expression brings about are worded anew; of any other the first line is kept.
"""

from __future__ import annotations

import re

MAX_CHARS = 200

WORDS: list[tuple[str, str]] = [
    (r"look-around, including", "look-ahead and look-behind aren't supported."),
    (r"backreferences are not supported", "back-references aren't supported."),
    (r"Unimplemented keys: (\[.*\])", "these keywords can't be kept: {0}."),
    (r"Unknown format: (.*)", "the format {0!r} isn't known."),
    (r"oneOf constraints are not supported", "'oneOf' can't be kept; use 'anyOf'."),
    (r"Regex is empty", "nothing fits it: its conditions on a text exclude each other."),
    (r"Unsatisfiable schema: ([^\n]*)", "nothing fits it: {0}."),
    (r"Pointer '(.*)' does not exist", "the reference '#{0}' leads nowhere."),
    (r"Resource '(.*)' is not present", "the reference {0!r} leads out of the schema."),
    (r"Failed to generate regex for (\w+) range", "this range of numbers can't be kept."),
    (r"error: ([^\n]*)", "an expression can't be read: {0}."),
]  # fmt: skip


def in_own_words(message: str) -> str:
    """The reason as one sentence without line ends."""
    for pattern, words in WORDS:
        if match := re.search(pattern, message):
            return words.format(*(group[:MAX_CHARS] for group in match.groups()))
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0][:MAX_CHARS] if lines else "no reason was given."
