"""The last day's figures on the admin's first page."""

from __future__ import annotations

from typing import Any

from django import template

from chatsite.catalog.worker_status import workers
from chatsite.dashboards.latency.views import index_summary

register = template.Library()


@register.simple_tag(takes_context=True)
def day_summary(context: dict[str, Any]) -> dict[str, Any]:
    """Figures of the last day and the workers; each only with its permission."""
    user = context["request"].user
    figures: dict[str, Any] = {**(index_summary(user) or {})}
    if user.has_perm("catalog.view_languagemodel"):
        figures["workers"] = workers()
    return figures
