"""Template tags for figures (chatsite.dashboards.figures), and for codes and states in words."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.translation import gettext as _

from chatsite.chat.search_query import STATES
from chatsite.dashboards import figures
from chatsite.error_messages import error_sentence
from chatsite.generation.stats import Summary

register = template.Library()

for as_html in (
    figures.ms,
    figures.exact_ms,
    figures.checkable_ms,
    figures.count,
    figures.rate,
    figures.how_often,
    figures.percent,
    figures.size,
    figures.giga,
    figures.ago,
):
    register.filter(as_html)


@register.filter
def error_words(code: str) -> str:
    """An error code in words."""
    return error_sentence(code)


@register.filter
def outcome(finish_reason: str) -> str:
    """How an answer ended, in words."""
    return str(STATES.get(finish_reason, ""))


@register.simple_tag(takes_context=True)
def query_with(context: dict[str, Any], **changes: Any) -> str:
    """This page's query string with some parameters changed; "" takes one away."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value in ("", None):
            query.pop(name, None)
        else:
            query[name] = value
    return f"?{query.urlencode()}" if query else "?"


@register.simple_tag
def p99(summary: Summary, form: str = "named") -> str:
    """The 99th percentile of a summary in µs; marked ≈ where it rests on too few requests."""
    value = figures.ms(summary.p99)
    if summary.has_rough_p99:
        hint = _("over %d requests: a rough figure below 1,000") % summary.count
        value = format_html('<span class="rough" title="{}">≈ {}</span>', hint, value)
    return value if form == "bare" else format_html("p99 <b>{}</b>", value)


@register.filter
def lookup(mapping: dict[str, Any], key: str) -> Any:
    """mapping[key] for templates; "" when it is missing."""
    return mapping.get(key, "")


@register.filter
def unlocalised(value: float) -> str:
    """A number for an attribute: a point, whatever the language."""
    return f"{value:g}"
