"""What people type, made fit to be stored: messages and titles."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.utils.translation import gettext as _

from chatsite import figure_format
from chatsite.chat.frames import MAX_TEXT_CHARS
from chatsite.chat.models import MAX_TITLE_CHARS
from chatsite.errors import ChatError
from inference import client
from inference.contract import ErrorCode

AUTO_TITLE_CHARS = 60
FENCE = re.compile(r"\s*(`{3,}|~{3,})")
MARKS = re.compile(r"^\s*(?:(?:#{1,6}|>|[-*+])\s+)+")


def clean_text(text: str, *, field: str = "text") -> str:
    """The text with NUL and lone surrogates as U+FFFD, which databases and tokenizers refuse.

    Raises ChatError for an empty or a too long one, naming `field`.
    """
    text = client.clean(text)
    if not text.strip():
        raise ChatError(ErrorCode.EMPTY_MESSAGE, field=field)
    if len(text) > MAX_TEXT_CHARS:
        raise ChatError(
            ErrorCode.TEXT_TOO_LONG,
            _("A message has at most %(limit)s characters; this one has %(length)s.")
            % {
                "limit": figure_format.count(MAX_TEXT_CHARS),
                "length": figure_format.count(len(text)),
            },
            field=field,
        )
    return text


def clean_title(title: str) -> str:
    """A title on one line. Raises ChatError for an empty or a too long one."""
    title = " ".join(clean_text(title, field="title").split())
    if len(title) > MAX_TITLE_CHARS:
        raise ChatError(
            ErrorCode.TITLE_TOO_LONG,
            _("A title has 1 to %(limit)d characters.") % {"limit": MAX_TITLE_CHARS},
            field="title",
        )
    return title


def auto_title(text: str) -> str:
    """The question's first line with words, cut at a word; the first one of prose before any code.

    Without the marks of Markdown: a fence, a heading's number signs, a list's dash say nothing.
    """
    words = (" ".join(MARKS.sub("", line).split()) for line in _prose_first(text))
    line = next((line for line in words if any(c.isalnum() for c in line)), " ".join(text.split()))
    if len(line) <= AUTO_TITLE_CHARS:
        return line
    head = line[:AUTO_TITLE_CHARS]
    return (head.rsplit(" ", 1)[0] if " " in head else head).rstrip(" ,;:.") + "…"


def _prose_first(text: str) -> Iterator[str]:
    """The lines outside of fenced code, then those inside; the fences themselves are left out."""
    code: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif fence:
            code.append(line)
        else:
            yield line
    yield from code
