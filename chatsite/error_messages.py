"""Sentences for error codes and sampling fields, in the language of the page.

inference/ writes its errors in English, for logs and programs; people read these. A stored answer
keeps the code alone, so that its sentence follows the language of whoever reads it.
"""

from __future__ import annotations

from django.utils.formats import localize
from django.utils.translation import gettext as _

from inference.contract import ErrorCode, InvalidField, SamplingParams


def error_sentence(code: str) -> str:
    """The sentence of an error code; "" for none, and an unknown one is named."""
    if not code:
        return ""
    known = ErrorCode.parse(code)
    return _(known.sentence) if known else _("Something went wrong (%(code)s).") % {"code": code}


def field_sentence(error: InvalidField) -> str:
    """What a sampling setting may be, when it isn't that."""
    name = error.field
    words = {"field": name}
    if name in SamplingParams.RANGES:
        low, high = SamplingParams.RANGES[name]
        words |= {"low": str(localize(low)), "high": str(localize(high))}
    if name == "top_p":
        return _("%(field)s must be greater than 0 and at most %(high)s.") % words
    if name == "min_tokens" and "exceed" in str(error):
        return _("min_tokens must not exceed max_tokens.")
    if name in SamplingParams.RANGES:
        return _("%(field)s must be a number from %(low)s to %(high)s.") % words
    if name == "stop":
        return _("stop takes at most %(strings)d strings of 1 to %(chars)d characters.") % {
            "strings": SamplingParams.MAX_STOP_STRINGS,
            "chars": SamplingParams.MAX_STOP_CHARS,
        }
    return _("The value of %(field)s can't be used.") % words
