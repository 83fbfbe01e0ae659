"""The tables of roll-ups: many requests added up by time and by label set.

They hold nothing that the requests' own rows don't; stats/roll_up.py makes them, also anew.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

ANY = "*"
"""The worker and the API key of a brief label set."""


class LabelSet(models.Model):
    """The labels that the requests of a roll-up have in common. A few hundred rows, never changed.

    Every request counts in two label sets: one with its own worker and API key, and a brief one
    with ANY for both. There are several times fewer brief ones; boards that don't filter by worker
    or key read those.
    """

    model_slug = models.CharField(max_length=63)
    preset_slug = models.CharField(max_length=63, blank=True)
    worker = models.CharField(max_length=100, blank=True)
    source = models.CharField(max_length=4)
    state = models.CharField(max_length=12)
    api_key = models.CharField(max_length=16, blank=True)
    error_code = models.CharField(max_length=40, blank=True)

    NAMES = (
        "model_slug", "preset_slug", "worker", "source", "state", "api_key", "error_code",
    )  # fmt: skip

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                name="one_row_per_label_set",
                fields=[
                    "model_slug", "preset_slug", "worker", "source", "state", "api_key",
                    "error_code",
                ],
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return " / ".join(filter(None, (getattr(self, name) for name in self.NAMES)))


class RollUp(models.Model):
    """The requests of one label set that were received in `width_s` seconds from `start_s` on.

    Sums are over the requests that have the figure; `finished` of them have a latency, `delivered`
    a browser's report. Sketches are stats/sketch.py's.
    """

    width_s = models.PositiveIntegerField(help_text=_("60, 3600, 21600 or 86400."))
    start_s = models.PositiveBigIntegerField(help_text=_("Unix time, a multiple of width_s."))
    labels = models.ForeignKey(LabelSet, on_delete=models.CASCADE, db_index=False)

    requests = models.PositiveIntegerField()
    tokens = models.PositiveBigIntegerField()
    finished = models.PositiveIntegerField()
    queue_us = models.BigIntegerField()
    prefill_us = models.BigIntegerField()
    decode_us = models.BigIntegerField()
    recovery_us = models.BigIntegerField()
    delivered = models.PositiveIntegerField()
    delivery_us = models.BigIntegerField()
    ttft_us = models.BigIntegerField()
    tpot_us = models.FloatField()
    ttft_max_us = models.PositiveBigIntegerField()
    tpot_max_us = models.FloatField()
    latency_max_us = models.PositiveBigIntegerField()
    ttft_sketch = models.BinaryField()
    tpot_sketch = models.BinaryField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                name="one_rollup_per_time_and_labels", fields=["width_s", "start_s", "labels"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.width_s} s from {self.start_s}: {self.requests}"


class RollUpProgress(models.Model):
    """How far the roll-ups are right; one row, or none before the first run.

    Every unit that ends by `until_s` is there and holds all that changed before `changed_until`.
    Units of a minute are kept from `minutes_from_s` on.
    """

    until_s = models.PositiveBigIntegerField()
    changed_until = models.DateTimeField()
    minutes_from_s = models.PositiveBigIntegerField()
    written = models.JSONField(
        default=dict,
        help_text=_("By width the run, in µs of Unix time, that last wrote such ones."),
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"until {self.until_s}"
