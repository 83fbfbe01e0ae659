"""Which requests figures are about: a stretch of time and labels."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from django.db.models import QuerySet

from chatsite.generation.models import Generation

LABEL_FIELDS = ("model", "preset", "worker", "source", "state", "api_key")
COLUMNS = {"model": "model_slug", "preset": "preset_slug"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Requests received from `since` on and before `until`; an empty label is any."""

    since: dt.datetime
    until: dt.datetime
    model: str = ""
    preset: str = ""
    worker: str = ""
    source: str = ""
    state: str = ""
    api_key: str = ""

    @property
    def wanted(self) -> dict[str, str]:
        """Column and value of every label that is asked for."""
        asked = {COLUMNS.get(name, name): getattr(self, name) for name in LABEL_FIELDS}
        return {column: value for column, value in asked.items() if value}

    def rows(self) -> QuerySet[Generation]:
        """The requests themselves."""
        return Generation.objects.filter(
            received_at__gte=self.since, received_at__lt=self.until, **self.wanted
        )

    def between(self, since: dt.datetime, until: dt.datetime) -> Selection:
        """The same labels over another stretch of time."""
        return replace(self, since=since, until=until)
