"""Which model and preset a request names. The only place that decides what may be used."""

from __future__ import annotations

from django.utils.translation import gettext as _

from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.errors import ChatError
from inference.contract import ErrorCode


def choose_model(slug: str) -> LanguageModel:
    """The enabled model of that slug, or the default one for "". Raises ChatError."""
    enabled = LanguageModel.objects.filter(is_enabled=True).select_related("default_preset")
    model = enabled.filter(slug=slug).first() if slug else enabled.order_by("-is_default").first()
    if model is None:
        text = (
            _("There is no model “%(slug)s” here.") % {"slug": slug}
            if slug
            else _("No model is enabled. An administrator can add one under Models.")
        )
        raise ChatError(ErrorCode.MODEL_UNKNOWN, text, field="model")
    return model


def choose_preset(slug: str, model: LanguageModel) -> SamplingPreset:
    """The enabled preset of that slug, or the model's or the site's default one for ""."""
    enabled = SamplingPreset.objects.filter(is_enabled=True)
    if slug:
        preset = enabled.filter(slug=slug).first()
    elif model.default_preset is not None and model.default_preset.is_enabled:
        preset = model.default_preset
    else:
        preset = enabled.order_by("-is_default").first()
    if preset is None:
        text = (
            _("There is no preset “%(slug)s” here.") % {"slug": slug}
            if slug
            else _("No preset is enabled. An administrator can add one under Sampling presets.")
        )
        raise ChatError(ErrorCode.PRESET_UNKNOWN, text, field="preset")
    return preset
