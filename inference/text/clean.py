"""The rule by which any text becomes text that can be stored, sent and tokenised.

Halves of a surrogate pair that stand together become their character; a lone half and NUL become
U+FFFD. Nothing else is changed: other control characters, direction marks and joiners stay.
"""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """`text` as valid Unicode without NUL; the same object when there is nothing to do."""
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass")
        text = joined.decode("utf-16-le", "replace")
    return text
