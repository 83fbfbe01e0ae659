"""The filters of the latency board: a range of time and which requests in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chatsite.generation.models import Generation

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

RANGES = {
    "1h": (_("last hour"), dt.timedelta(hours=1)),
    "6h": (_("last 6 hours"), dt.timedelta(hours=6)),
    "24h": (_("last 24 hours"), dt.timedelta(hours=24)),
    "7d": (_("last 7 days"), dt.timedelta(days=7)),
    "30d": (_("last 30 days"), dt.timedelta(days=30)),
    "all": (_("all time"), None),
}
DEFAULT_RANGE = "24h"

BUCKETS_S = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
MOST_BUCKETS = 120

MOMENT = "%Y-%m-%dT%H:%M"
MOMENTS = ("%Y-%m-%dT%H:%M:%S", MOMENT, "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


class Moment(forms.DateTimeField):
    """A date with a time, as browsers and people write them."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}, format=MOMENTS[0])

    def __init__(self, label: StrOrPromise) -> None:
        super().__init__(label=label, required=False, input_formats=MOMENTS)


class FilterForm(forms.Form):
    """The filter bar. The board adds the choices of model and preset."""

    range = forms.ChoiceField(
        label=_("Time"), required=False, choices=[(k, label) for k, (label, _d) in RANGES.items()]
    )
    since = Moment(_("From"))
    until = Moment(_("To"))
    model = forms.CharField(label=_("Model"), required=False, max_length=63)
    preset = forms.CharField(label=_("Preset"), required=False, max_length=63)
    source = forms.ChoiceField(
        label=_("Source"), required=False, choices=[("", _("all")), *Generation.Source.choices]
    )
    state = forms.ChoiceField(
        label=_("State"), required=False, choices=[("", _("all")), *Generation.State.choices]
    )

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since >= until:
            self.add_error("until", _("“To” must be later than “From”."))
        return cleaned


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Valid filters. `since` None is the beginning; `until` None is now."""

    range: str = DEFAULT_RANGE
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    model: str = ""
    preset: str = ""
    source: str = ""
    state: str = ""

    def rows(self) -> QuerySet[Generation]:
        """The requests that match."""
        rows = Generation.objects.all()
        if self.since is not None:
            rows = rows.filter(received_at__gte=self.since)
        if self.until is not None:
            rows = rows.filter(received_at__lt=self.until)
        if self.model:
            rows = rows.filter(model_slug=self.model)
        if self.preset:
            rows = rows.filter(preset_slug=self.preset)
        if self.source:
            rows = rows.filter(source=self.source)
        if self.state:
            rows = rows.filter(state=self.state)
        return rows


def parse(query: QueryDict, *, now: dt.datetime | None = None) -> tuple[Filters, FilterForm]:
    """The filters in a query string, and their form. A wrong value is an error at its field and is
    ignored, so that the page still shows something.
    """
    data = query.copy()
    data.setdefault("range", DEFAULT_RANGE)
    form = FilterForm(data)
    form.is_valid()
    good = {k: v for k, v in form.cleaned_data.items() if v and k in Filters.__slots__}
    if "since" in good or "until" in good:
        good["range"] = "custom"
    else:
        good["range"] = good.get("range", DEFAULT_RANGE)
        length = RANGES[good["range"]][1]
        if length is not None:
            good["since"] = (now or timezone.now()) - length
    return Filters(**good), form


def bucket_s(seconds: float) -> int:
    """The narrowest slice that gives at most MOST_BUCKETS of them."""
    return next((w for w in BUCKETS_S if seconds / w <= MOST_BUCKETS), BUCKETS_S[-1])
