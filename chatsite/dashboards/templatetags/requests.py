"""How a request's state is said: in the words of Generation.State, wherever it is."""

from __future__ import annotations

from django import template
from django.utils.html import format_html

from chatsite.generation.models import Generation

register = template.Library()


@register.filter
def state_words(state: str) -> str:
    """ "stop" → "finished"."""
    try:
        return str(Generation.State(state).label)
    except ValueError:
        return state


@register.simple_tag
def state_mark(state: str, error_code: str = "") -> str:
    """The state as a coloured mark, with the code of an error."""
    words = state_words(state)
    code = format_html(" <code>{}</code>", error_code) if error_code else ""
    return format_html('<span class="state state-{}">{}</span>{}', state, words, code)
