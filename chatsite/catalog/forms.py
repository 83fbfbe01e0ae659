"""Forms of the admin: the words and the checks that the tables themselves don't have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from chatsite.catalog import model_folders
from chatsite.catalog.models import LanguageModel, SamplingPreset

if TYPE_CHECKING:
    EntryFormBase = forms.ModelForm[LanguageModel | SamplingPreset]
else:
    EntryFormBase = forms.ModelForm


class OneDefaultForm(EntryFormBase):
    """Refuses to take the default away from the entry that has it: it can only be moved."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        is_default = cleaned.get("is_default")
        if self.initial.get("is_default") and self.instance.pk and not is_default:
            self.add_error(
                "is_default", _("This is the default. Make another one the default first.")
            )
        if is_default and not cleaned.get("is_enabled"):
            self.add_error("is_enabled", _("The default must be enabled."))
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        """The constraint of one default is left to writer.save_entry, which moves it."""
        # Django has no public way to leave out one constraint.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded | {"is_default"}


class LanguageModelForm(OneDefaultForm):
    """A model; its slug must name a folder that can be served."""

    class Meta:
        model = LanguageModel
        fields = (
            "name",
            "slug",
            "description",
            "is_enabled",
            "is_default",
            "dtype",
            "system_prompt",
            "default_preset",
        )
        help_texts = {
            "description": _("One or two sentences beside the name in the model picker."),
            "default_preset": _("Used when a person chooses none. Empty: the site's default."),
            "system_prompt": _(
                "Up to 8,000 characters, put before every conversation. Empty: the chat "
                "template's own."
            ),
        }

        widgets = {
            "description": forms.Textarea(attrs={"rows": 2, "cols": 60}),
            "system_prompt": forms.Textarea(attrs={"rows": 5, "cols": 60, "maxlength": 8000}),
        }

    def clean_slug(self) -> str:
        """Look at the folder when the slug is new or changed."""
        slug: str = self.cleaned_data["slug"]
        if "slug" in self.changed_data:
            try:
                model_folders.model_dir(slug)
            except ValidationError as error:
                if error.code == "missing" and (found := model_folders.served_slugs()):
                    raise ValidationError(
                        [error, _("There are: %s.") % ", ".join(found)]
                    ) from error
                raise
        return slug


class SamplingPresetForm(OneDefaultForm):
    """A preset, with each parameter explained."""

    class Meta:
        model = SamplingPreset
        fields = (
            "name",
            "slug",
            "description",
            "is_enabled",
            "is_default",
            *SamplingPreset.SAMPLING_FIELDS,
            "stop",
        )
        help_texts = {
            "name": _("What people see in the preset picker."),
            "slug": _(
                "Its name in the API and in search (preset:…). Lower-case letters, digits, dots "
                "and hyphens."
            ),
            "description": _("What it is good for, in one line."),
            "is_enabled": _("Offered in the chat and the API."),
            "is_default": _("Used when nothing else is chosen. Exactly one preset is."),
            "top_k": _("0 to 1,000,000. Keep the k likeliest tokens. 0 keeps all."),
            "seed": _(
                "A whole number. Fixes the random draws, so that the same question gets the same "
                "answer. Empty: a new one is drawn for each answer and kept with it."
            ),
            "stop": _(
                'A list such as ["\\n\\n", "END"], up to 16 strings of 1 to 256 characters. The '
                "answer ends before any of them."
            ),
        }
        widgets = {
            "description": forms.TextInput(attrs={"size": 60}),
            "stop": forms.Textarea(attrs={"rows": 2, "cols": 60, "spellcheck": "false"}),
        }
