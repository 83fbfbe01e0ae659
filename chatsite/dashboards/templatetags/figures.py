"""Template filters for figures: "no data" for None, and the digits of chatsite.figure_format."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.translation import gettext as _

from chatsite import figure_format
from chatsite.chat.search_query import STATES
from chatsite.error_messages import error_sentence
from chatsite.generation.stats import Summary

register = template.Library()


def no_data() -> str:
    """What stands for a figure that does not exist."""
    return format_html('<span class="no-data">{}</span>', _("no data"))


@register.filter
def ms(us: float | None) -> str:
    """Whole or fractional microseconds → "212 ms"."""
    return no_data() if us is None else figure_format.duration(us / 1000)


@register.filter
def exact_ms(us: float | None) -> str:
    """Microseconds → milliseconds with all three decimals, for sums that must add up to the eye."""
    return no_data() if us is None else figure_format.exact(us / 1000)


@register.filter
def checkable_ms(us: float) -> str:
    """Milliseconds with six decimals: times a thousand tokens, still right to the microsecond."""
    return f"{figure_format.fixed(us / 1000, 6)} ms"


@register.filter
def count(value: float | None) -> str:
    """A whole number: 12,345."""
    return no_data() if value is None else figure_format.count(value)


@register.filter
def error_words(code: str) -> str:
    """An error code in words."""
    return error_sentence(code)


@register.filter
def outcome(finish_reason: str) -> str:
    """How an answer ended, in words."""
    return str(STATES.get(finish_reason, ""))


@register.filter
def rate(value: float | None) -> str:
    """A number per second without its unit: 41.2, 0.0310."""
    return no_data() if value is None else figure_format.rate(value)


@register.filter
def how_often(per_s: float | None) -> str:
    """Times per second → "12.4 per second", "3.5 per minute", "2.0 per day"."""
    if per_s is None:
        return no_data()
    units = ((1, _("per second")), (60, _("per minute")), (3600, _("per hour")))
    for seconds, unit in units:
        if per_s * seconds >= 1:
            return f"{figure_format.fixed(per_s * seconds, 1)} {unit}"
    return f"{figure_format.fixed(per_s * 86_400, 1)} {_('per day')}"


@register.filter
def percent(value: float | None) -> str:
    """A share of 1 → "1.2 %"."""
    return no_data() if value is None else figure_format.percent(value)


@register.filter
def size(value: float | None) -> str:
    """Bytes → "538 MB", in powers of 1,000 as disks and papers count."""
    return no_data() if value is None else figure_format.size(value)


@register.filter
def giga(per_s: float | None) -> str:
    """A number per second in thousands of millions: 938, 41.2."""
    return no_data() if per_s is None else figure_format.rate(per_s / 1e9)


@register.filter
def ago(moment: dt.datetime | None, now: dt.datetime) -> str:
    """How long before `now`: "12 s ago"."""
    if moment is None:
        return no_data()
    seconds = max(0, round((now - moment).total_seconds()))
    if seconds < 90:
        return _("%d s ago") % seconds
    if seconds < 5400:
        return _("%d min ago") % round(seconds / 60)
    return _("%d h ago") % round(seconds / 3600)


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
    value = ms(summary.p99)
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
