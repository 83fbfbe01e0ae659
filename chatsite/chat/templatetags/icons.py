"""`{% icon "name" %}`: one of the drawings in static/icons.svg."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from django import template
from django.conf import settings
from django.template.base import Parser, Token
from django.template.context import Context
from django.templatetags.static import static
from django.utils.html import format_html

register = template.Library()


class IconNode(template.Node):
    """The drawing of that id, hidden from screen readers: the words beside it say what it means."""

    def __init__(self, name: str) -> None:
        self._name = name

    def render(self, context: Context) -> str:
        return format_html(
            '<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>',
            static("icons.svg"),
            self._name,
        )


@register.tag
def icon(parser: Parser, token: Token) -> IconNode:
    """Refuses a name that isn't drawn when the template is compiled."""
    _tag, *rest = token.split_contents()
    name = rest[0].strip("\"'") if len(rest) == 1 else ""
    if name not in drawn_icons():
        raise template.TemplateSyntaxError(f"static/icons.svg has no icon {' '.join(rest)}.")
    return IconNode(name)


@cache
def drawn_icons() -> frozenset[str]:
    """The ids in static/icons.svg."""
    tree = ElementTree.parse(Path(settings.BASE_DIR, "static", "icons.svg"))
    return frozenset(name for element in tree.iter() if (name := element.get("id")))
