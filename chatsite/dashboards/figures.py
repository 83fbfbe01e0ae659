"""Figures for people, in HTML: "no data" for None, the digits of chatsite.figure_format.

Templates have them as filters (templatetags/figures.py).
"""

from __future__ import annotations

import datetime as dt

from django.utils.html import format_html
from django.utils.translation import gettext as _

from chatsite import figure_format


def no_data() -> str:
    """What stands for a figure that does not exist."""
    return format_html('<span class="no-data">{}</span>', _("no data"))


def ms(us: float | None) -> str:
    """Whole or fractional microseconds → "212 ms"."""
    return no_data() if us is None else figure_format.duration(us / 1000)


def exact_ms(us: float | None) -> str:
    """Microseconds → milliseconds with all three decimals, for sums that must add up to the eye."""
    return no_data() if us is None else figure_format.exact(us / 1000)


def checkable_ms(us: float) -> str:
    """Milliseconds with six decimals: times a thousand tokens, still right to the microsecond."""
    return f"{figure_format.fixed(us / 1000, 6)} ms"


def count(value: float | None) -> str:
    """A whole number: 12,345."""
    return no_data() if value is None else figure_format.count(value)


def rate(value: float | None) -> str:
    """A number per second without its unit: 41.2, 0.0310."""
    return no_data() if value is None else figure_format.rate(value)


def how_often(per_s: float | None) -> str:
    """Times per second → "12.4 per second", "3.5 per minute", "2.0 per day"."""
    if per_s is None:
        return no_data()
    day = 86_400, _("per day")
    units = ((1, _("per second")), (60, _("per minute")), (3600, _("per hour")), day)
    seconds, unit = next((u for u in units if per_s * u[0] >= 1), day)
    return f"{figure_format.fixed(per_s * seconds, 1)} {unit}"


def percent(value: float | None) -> str:
    """A share of 1 → "1.2 %"."""
    return no_data() if value is None else figure_format.percent(value)


def size(value: float | None) -> str:
    """Bytes → "538 MB", in powers of 1,000 as disks and papers count."""
    return no_data() if value is None else figure_format.size(value)


def giga(per_s: float | None) -> str:
    """A number per second in thousands of millions: 938, 41.2."""
    return no_data() if per_s is None else figure_format.rate(per_s / 1e9)


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
