"""Language models and sampling presets, as administrators keep them.

An answer keeps a snapshot of what made it (generation.Generation), so both may be changed and
deleted without touching history.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from chatsite.error_messages import field_sentence
from inference.contract import InvalidField, SamplingParams

slug_rule = RegexValidator(
    r"^[a-z0-9][a-z0-9.-]{0,62}$",
    _("Lower-case letters, digits, dots and hyphens, starting with a letter or digit."),
)


def in_range(field: str) -> list[MinValueValidator | MaxValueValidator]:
    """Validators of a sampling parameter's range, both ends included."""
    low, high = SamplingParams.RANGES[field]
    return [MinValueValidator(low), MaxValueValidator(high)]


class LanguageModel(models.Model):
    """A model that can be chatted with: a folder below CHATSITE_MODELS and how it is offered."""

    class Dtype(models.TextChoices):
        AUTO = "auto", _("whatever serves best on the worker")
        FLOAT32 = "float32", "FP32"
        BFLOAT16 = "bfloat16", "BF16"
        FLOAT16 = "float16", "FP16"
        INT8 = "int8", "INT8"
        INT4 = "int4", "INT4"

    slug = models.CharField(
        _("slug"),
        max_length=63,
        unique=True,
        validators=[slug_rule],
        help_text=_("The model's folder below CHATSITE_MODELS; also its name in the API."),
    )
    name = models.CharField(_("name"), max_length=100, help_text=_("What people see."))
    description = models.TextField(_("description"), blank=True)
    is_enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("Offered in the chat and the API.")
    )
    is_default = models.BooleanField(
        _("default"), default=False, help_text=_("Chosen for a new conversation.")
    )
    dtype = models.CharField(
        _("dtype"),
        max_length=10,
        choices=Dtype.choices,
        default=Dtype.AUTO,
        help_text=_("How the weights are held. A worker reads this when it loads the model."),
    )
    system_prompt = models.TextField(
        _("system prompt"),
        blank=True,
        max_length=8000,
        help_text=_("Put before every conversation. Empty: the chat template's own."),
    )
    default_preset = models.ForeignKey(
        "SamplingPreset",
        verbose_name=_("default preset"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        ordering = ["-is_default", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_model"
            )
        ]
        verbose_name = _("model")
        verbose_name_plural = _("models")

    def __str__(self) -> str:
        return self.name


class SamplingPreset(models.Model):
    """A named way of sampling. A change raises `version`; an answer keeps the one that made it."""

    slug = models.CharField(_("slug"), max_length=63, unique=True, validators=[slug_rule])
    name = models.CharField(_("name"), max_length=100)
    description = models.CharField(_("description"), max_length=200, blank=True)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_default = models.BooleanField(_("default"), default=False)
    temperature = models.FloatField(
        _("temperature"),
        default=1.0,
        validators=in_range("temperature"),
        help_text=_(
            "0 to 2. Divides the logits: below 1 the likely tokens gain, above 1 the unlikely "
            "ones. 0 always takes the likeliest."
        ),
    )
    top_k = models.PositiveIntegerField(
        _("top-k"),
        default=0,
        validators=in_range("top_k"),
        help_text=_("Keep the k likeliest tokens. 0 keeps all."),
    )
    top_p = models.FloatField(
        _("top-p"),
        default=1.0,
        validators=[MinValueValidator(0.001), MaxValueValidator(1.0)],
        help_text=_("0.001 to 1. Keep the likeliest tokens whose probabilities add up to this."),
    )
    min_p = models.FloatField(
        _("min-p"),
        default=0.0,
        validators=in_range("min_p"),
        help_text=_("0 to 1. Drop tokens below this share of the likeliest one's probability."),
    )
    repetition_penalty = models.FloatField(
        _("repetition penalty"),
        default=1.0,
        validators=in_range("repetition_penalty"),
        help_text=_("0.01 to 10. Above 1 makes tokens of the prompt and the answer less likely."),
    )
    presence_penalty = models.FloatField(
        _("presence penalty"),
        default=0.0,
        validators=in_range("presence_penalty"),
        help_text=_("-2 to 2. Subtracted once from each token the answer already has."),
    )
    frequency_penalty = models.FloatField(
        _("frequency penalty"),
        default=0.0,
        validators=in_range("frequency_penalty"),
        help_text=_("-2 to 2. Subtracted as often as the answer already has the token."),
    )
    seed = models.BigIntegerField(
        _("seed"),
        null=True,
        blank=True,
        help_text=_("Fixes the random draws, so that the same question gets the same answer."),
    )
    max_tokens = models.PositiveIntegerField(
        _("max tokens"),
        default=1024,
        validators=in_range("max_tokens"),
        help_text=_("1 to 1,000,000. The answer ends here at the latest."),
    )
    stop = models.JSONField(
        _("stop strings"),
        default=list,
        blank=True,
        help_text=_('A list such as ["\\n\\n", "END"]: the answer ends before any of them.'),
    )
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        ordering = ["-is_default", "temperature", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="one_default_preset",
            )
        ]
        verbose_name = _("sampling preset")
        verbose_name_plural = _("sampling presets")

    SAMPLING_FIELDS = (
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "max_tokens",
    )

    def __str__(self) -> str:
        return self.name

    def sampling(self) -> SamplingParams:
        """The parameters for the engine. Raises InvalidField when a value is out of its range."""
        if not isinstance(self.stop, list):
            raise InvalidField("stop", "stop must be a list of strings.")
        values = {name: getattr(self, name) for name in self.SAMPLING_FIELDS}
        return SamplingParams(stop=tuple(self.stop), **values)

    def clean(self) -> None:
        """Check the parameters together, as the engine would."""
        if any(getattr(self, name) is None for name in self.SAMPLING_FIELDS if name != "seed"):
            return  # the field's own error is clearer
        try:
            self.sampling()
        except InvalidField as error:
            raise ValidationError({error.field: field_sentence(error)}) from error
