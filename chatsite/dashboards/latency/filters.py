"""The filters of the latency board: a range of time and which requests in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chatsite.generation.models import Generation
from chatsite.generation.stats import Selection

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
LABELS = ("model", "preset", "source", "state", "worker", "api_key")

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
    since = Moment(_("From (UTC)"))
    until = Moment(_("To (UTC)"))
    model = forms.CharField(label=_("Model"), required=False, max_length=63)
    preset = forms.CharField(label=_("Preset"), required=False, max_length=63)
    source = forms.ChoiceField(
        label=_("Source"), required=False, choices=[("", _("all")), *Generation.Source.choices]
    )
    state = forms.ChoiceField(
        label=_("State"), required=False, choices=[("", _("all")), *Generation.State.choices]
    )

    worker = forms.CharField(label=_("Worker"), required=False, max_length=100)
    api_key = forms.CharField(label=_("API key"), required=False, max_length=16)

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
    worker: str = ""
    api_key: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """The labels that are asked for."""
        return {name: value for name in LABELS if (value := getattr(self, name))}

    @property
    def query(self) -> str:
        """These filters as a query string; whatever was wrong is not in it."""
        asked = dict(self.labels)
        if self.range == "custom":
            for name in ("since", "until"):
                if moment := getattr(self, name):
                    asked[name] = moment.astimezone(dt.UTC).strftime(MOMENTS[0])
        else:
            asked = {"range": self.range, **asked}
        return urlencode(asked)

    def selection(self, *, first: dt.datetime | None, now: dt.datetime) -> Selection | None:
        """The requests that these filters select now; None before the first request.

        `first` is when that was received. Time before it and in the future is cut off.
        """
        if first is None:
            return None
        until = min(self.until or now, now)
        since = self.since or first
        if self.range == "custom":
            since = max(since, first)
        return Selection(since=min(since, until), until=until, **self.labels)


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
    """The narrowest slice that gives at most MOST_BUCKETS of them; a moment more doesn't count."""
    return next((w for w in BUCKETS_S if int(seconds) // w <= MOST_BUCKETS), BUCKETS_S[-1])
