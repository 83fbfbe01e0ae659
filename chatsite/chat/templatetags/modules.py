"""`{% modules "js/chat/main.js" %}`: a page's JavaScript, all of it asked for at once."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from chatsite.server.static_files import files, module_graph

register = template.Library()


@register.simple_tag(takes_context=True)
def modules(context: dict[str, Any], *entries: str) -> str:
    """The import map of all modules that these entries reach, their preloads, and the entries.

    Once a page, before any other module: a browser takes no import map after it has loaded one. The
    map is inline, as browsers want it, and carries the page's nonce.
    """
    graphs = [module_graph(entry) for entry in entries]
    preloaded = dict.fromkeys(name for graph in graphs for name in graph.preloaded)
    reached = dict.fromkeys(name for graph in graphs for name in graph.reached)
    scripts = format_html_join(
        "\n", '<script type="module" src="{}"></script>', ((static(name),) for name in entries)
    )
    preloads = format_html_join(
        "\n", '<link rel="modulepreload" href="{}">', ((static(name),) for name in preloaded)
    )
    return format_html("{}\n{}\n{}", _import_map(context, tuple(reached)), preloads, scripts)


def _import_map(context: dict[str, Any], names: tuple[str, ...]) -> SafeString:
    if settings.DEBUG:
        return SafeString("")
    known = [name for name in names if name in files()]
    imports = {f"{settings.STATIC_URL}{name}": static(name) for name in known}
    text = json.dumps({"imports": imports}, separators=(",", ":")).replace("<", "\\u003c")
    nonce = getattr(context.get("request"), "csp_nonce", "")
    return format_html('<script type="importmap" nonce="{}">{}</script>', nonce, mark_safe(text))
