"""What a new site starts with, in the words of the page's language.

Migration 0003 stores the names and descriptions of its model and presets in English. Whatever an
administrator writes instead has no translation and is shown as it is.
"""

from __future__ import annotations

from django.utils.translation import gettext


def shown(text: str) -> str:
    """A stored name or description as pages show it."""
    return gettext(text) if text else ""
