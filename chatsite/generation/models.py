"""What was measured of each request. Knows no other app: ids of others are opaque here.

All times are whole microseconds, so that the identities hold exactly in the database:
ttft = queue + prefill and latency = ttft + decode + recovery. NULL is "never reached", not zero.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chatsite.generation.rollup_models import ANY, LabelSet, RollUp, RollUpProgress

__all__ = ["ANY", "Attempt", "Generation", "LabelSet", "RollUp", "RollUpProgress", "TokenTrace"]


class GenerationQuerySet(models.QuerySet["Generation"]):
    """Notes when rows were changed, so that roll-ups know which minutes to add up again."""

    def update(self, **values: Any) -> int:
        return super().update(**({"changed_at": timezone.now()} | values))


class Generation(models.Model):
    """One request and its figures. Keeps snapshots of the model and preset that made it."""

    class Source(models.TextChoices):
        CHAT = "chat", _("chat")
        API = "api", _("API")

    class State(models.TextChoices):
        PENDING = "pending", _("not yet submitted")
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        STOP = "stop", _("finished")
        LENGTH = "length", _("cut at max tokens")
        CANCELLED = "cancelled", _("stopped by the person")
        FAILED = "failed", _("failed")
        INTERRUPTED = "interrupted", _("interrupted")

    TERMINAL = (State.STOP, State.LENGTH, State.CANCELLED, State.FAILED, State.INTERRUPTED)

    request_id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject = models.UUIDField(
        null=True,
        db_index=True,
        help_text=_("What was answered: a chat message's id; NULL for the API."),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="generations"
    )
    source = models.CharField(
        _("source"), max_length=4, choices=Source.choices, default=Source.CHAT
    )
    api_key = models.CharField(
        max_length=16,
        blank=True,
        help_text=_("How the API key begins that was used; empty for the chat."),
    )
    state = models.CharField(
        _("state"), max_length=12, choices=State.choices, default=State.PENDING
    )
    error_code = models.CharField(_("error code"), max_length=40, blank=True)
    error_text = models.CharField(max_length=300, blank=True)

    model_slug = models.CharField(_("model"), max_length=63)
    model_version = models.PositiveIntegerField(default=1)
    model_revision = models.CharField(max_length=64, blank=True)
    dtype = models.CharField(max_length=16, blank=True)
    preset_slug = models.CharField(_("preset"), max_length=63, blank=True)
    preset_version = models.PositiveIntegerField(null=True)
    sampling = models.JSONField(
        default=dict, help_text=_("The sampling parameters as they were, seed included.")
    )

    accepted_request = models.TextField(
        blank=True,
        help_text=_("The request as it was accepted, in its wire form; empty once it has ended."),
    )

    # docs/measures.md, Stamps. The browser's are durations on its own clock, from its own `sent`.
    received_at = models.DateTimeField(_("received"), db_index=True)
    received_stamp = models.JSONField(default=dict, help_text=_("Both clocks of `received`."))
    submitted_us = models.PositiveBigIntegerField(null=True, help_text=_("received → submitted"))
    started_us = models.PositiveBigIntegerField(null=True, help_text=_("received → started"))
    stored_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(
        auto_now=True, db_index=True, help_text=_("When this row was last written.")
    )
    is_exact = models.BooleanField(
        default=True, help_text=_("One monotonic clock timed all of it.")
    )

    queue_us = models.PositiveBigIntegerField(null=True)
    prefill_us = models.PositiveBigIntegerField(null=True)
    ttft_us = models.PositiveBigIntegerField(null=True)
    decode_us = models.PositiveBigIntegerField(null=True)
    recovery_us = models.PositiveBigIntegerField(null=True)
    latency_us = models.PositiveBigIntegerField(null=True)
    tpot_us = models.FloatField(null=True, help_text=_("Derived: decode / (n - 1)."))
    itl_p50_us = models.PositiveBigIntegerField(null=True)
    itl_p95_us = models.PositiveBigIntegerField(null=True)
    itl_max_us = models.PositiveBigIntegerField(null=True)
    user_ttft_us = models.PositiveBigIntegerField(null=True)
    user_latency_us = models.PositiveBigIntegerField(null=True)
    is_paint_refused = models.BooleanField(
        default=False, help_text=_("A browser reported stamps that can't be.")
    )

    prompt_tokens = models.PositiveIntegerField(null=True)
    cached_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(_("completion tokens"), null=True)
    continued_tokens = models.PositiveIntegerField(default=0)
    batch_mean = models.FloatField(null=True)
    tpot_floor_us = models.FloatField(null=True)
    prefill_floor_us = models.FloatField(null=True)
    attempts_used = models.PositiveSmallIntegerField(default=1)
    worker = models.CharField(max_length=100, blank=True)
    device = models.CharField(max_length=100, blank=True)
    token_offsets_us = models.JSONField(
        default=list, help_text=_("Of each token sampled for this request: received → sampled.")
    )

    objects = GenerationQuerySet.as_manager()

    class Meta:
        ordering = ["-received_at"]
        indexes = [
            models.Index(fields=["state", "received_at"]),
            models.Index(fields=["model_slug", "received_at"]),
            models.Index(fields=["user", "received_at"]),
            models.Index(name="generation_api_key", fields=["api_key", "received_at"]),
            models.Index(
                name="generation_paint_refused",
                fields=["received_at"],
                condition=Q(is_paint_refused=True),
            ),
            models.Index(  # covers stats, which so never reads the wide rows themselves
                name="generation_board",
                fields=[
                    "received_at",
                    "model_slug",
                    "preset_slug",
                    "source",
                    "state",
                    "error_code",
                    "worker",
                    "api_key",
                    "queue_us",
                    "ttft_us",
                    "decode_us",
                    "latency_us",
                    "tpot_us",
                    "user_latency_us",
                    "completion_tokens",
                    "request_id",
                ],
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="ttft_is_queue_plus_prefill",
                condition=Q(ttft_us=None)
                | Q(
                    ttft_us=F("queue_us") + F("prefill_us"),
                    queue_us__isnull=False,  # or a sum with NULL, which is unknown, would pass
                    prefill_us__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="latency_is_ttft_plus_decode_plus_recovery",
                condition=Q(latency_us=None)
                | Q(
                    latency_us=F("ttft_us") + F("decode_us") + F("recovery_us"),
                    ttft_us__isnull=False,
                    decode_us__isnull=False,
                    recovery_us__isnull=False,
                ),
            ),
        ]
        verbose_name = _("request")
        verbose_name_plural = _("requests")

    def __str__(self) -> str:
        return self.request_id.hex[:8]

    @property
    def delivery_us(self) -> int | None:
        """What network, web and browser added to the latency; None unless a browser reported."""
        if self.user_latency_us is None or self.latency_us is None:
            return None
        return self.user_latency_us - self.latency_us

    @property
    def is_terminal(self) -> bool:
        return self.state in self.TERMINAL


class Attempt(models.Model):
    """One try at a request: on which worker, and how far it came."""

    generation = models.ForeignKey(Generation, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    worker = models.CharField(max_length=100, blank=True)
    device = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=12, choices=Generation.State.choices)
    error_code = models.CharField(max_length=40, blank=True)
    # Offsets from the request's `received`, in µs.
    started_us = models.PositiveBigIntegerField(null=True)
    admitted_us = models.PositiveBigIntegerField(null=True)
    first_token_us = models.PositiveBigIntegerField(null=True)
    last_token_us = models.PositiveBigIntegerField(null=True)
    tokens = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["generation", "number"]
        constraints = [
            models.UniqueConstraint(fields=["generation", "number"], name="one_row_per_attempt")
        ]

    def __str__(self) -> str:
        return f"{self.generation_id.hex[:8]} #{self.number}"


class TokenTrace(models.Model):
    """How the tokens that one request sampled were chosen (generation/token_trace.py).

    Deleted with its answer, though the request's figures stay.
    """

    generation = models.OneToOneField(
        Generation, primary_key=True, on_delete=models.CASCADE, related_name="token_trace"
    )
    subject = models.UUIDField(
        null=True, db_index=True, help_text=_("The answer: a chat message's id.")
    )
    first = models.PositiveIntegerField(
        default=0, help_text=_("The answer's token that the first record is of.")
    )
    count = models.PositiveIntegerField(default=0)
    prompt = models.BinaryField(help_text=_("The prompt's token ids."))
    data = models.BinaryField(help_text=_("The records and gaps of the tokens."))

    class Meta:
        default_permissions = ()
        verbose_name = _("token trace")
        verbose_name_plural = _("token traces")

    def __str__(self) -> str:
        return f"{self.generation_id.hex[:8]} {self.first}+{self.count}"
