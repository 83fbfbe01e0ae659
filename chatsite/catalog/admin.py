"""Models and presets in the admin. Every write goes through writer.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chatsite.catalog import model_folders, model_summary, writer
from chatsite.catalog.forms import LanguageModelForm, SamplingPresetForm
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.catalog.writer import Entry
from chatsite.errors import ChatError
from inference import client

if TYPE_CHECKING:  # generic to the type checker alone
    from django_stubs_ext import StrOrPromise

    EntryAdminBase = admin.ModelAdmin[Entry]
    EntryForm = ModelForm[Entry]
else:
    EntryAdminBase, EntryForm = admin.ModelAdmin, ModelForm


class EntryAdmin(EntryAdminBase):
    """What models and presets share: one default, versions, deletion of all but the default."""

    actions = ("make_default",)
    list_display_links = ("name",)
    readonly_fields: ClassVar[tuple[str, ...]] = ("version", "created_at", "updated_at")
    save_on_top = True
    list_per_page = 50

    @admin.display(description=_("default"), ordering="is_default")
    def default_mark(self, entry: Entry) -> str:
        return gettext("default") if entry.is_default else ""

    def save_model(self, request: HttpRequest, obj: Entry, form: EntryForm, change: bool) -> None:
        if change and not form.has_changed():
            return  # a version is a change, not a click
        writer.save_entry(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and not (obj is not None and obj.is_default)

    def delete_model(self, request: HttpRequest, obj: Entry) -> None:
        writer.delete_entry(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        for entry in queryset:
            writer.delete_entry(entry)

    @admin.action(description=_("Make the chosen one the default"), permissions=["change"])
    def make_default(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        """Move the default to the one chosen entry."""
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, gettext("Choose exactly one."), messages.ERROR)
            return
        try:
            writer.make_default(chosen[0])
        except ChatError as error:
            self.message_user(request, error.text, messages.ERROR)
            return
        self.log_change(request, chosen[0], [{"changed": {"fields": ["default"]}}])
        self.message_user(request, gettext("%s is the default now.") % chosen[0], messages.SUCCESS)


@admin.register(LanguageModel)
class LanguageModelAdmin(EntryAdmin):
    """Models, with what their folders hold and which workers have them loaded."""

    form = LanguageModelForm
    list_display = (
        "name", "slug", "default_mark", "is_enabled", "dtype", "default_preset", "folder",
        "version",
        "updated_at",
    )  # fmt: skip
    list_filter = ("is_enabled", "dtype", "default_preset")
    list_select_related = ("default_preset",)
    search_fields = ("name", "slug", "description")
    search_help_text = _("Searches name, slug and description.")
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = (*EntryAdmin.readonly_fields, "made_of", "on_workers")
    fieldsets = (
        (None, {"fields": ("name", "slug", "description", "is_enabled", "is_default")}),
        (_("How it answers"), {"fields": ("dtype", "system_prompt", "default_preset")}),
        (_("What it is made of"), {"fields": ("made_of",)}),
        (_("Where it is loaded"), {"fields": ("on_workers",)}),
        (_("Record"), {"fields": ("version", "created_at", "updated_at")}),
    )

    @admin.display(description=_("folder"), boolean=True)
    def folder(self, model: LanguageModel) -> bool:
        """Whether the folder can be served."""
        return model_folders.is_servable(model.slug)

    @admin.display(description=_("contents"))
    def made_of(self, model: LanguageModel) -> str:
        """The summary of the folder, or why there is none."""
        if model.pk is None:
            return gettext("Shown once the model is saved.")
        try:
            model_folders.model_dir(model.slug)
            summary = model_summary.summarize(model.slug)
        except ValidationError as error:
            return " ".join(error.messages)
        except client.ModelUnknown as error:
            return gettext("This model can't be described: %(why)s") % {"why": error}
        return render_to_string("admin/catalog/made_of.html", {"summary": summary})

    @admin.display(description=_("workers"))
    def on_workers(self, model: LanguageModel) -> str:
        """The workers that have it loaded."""
        context = {"workers": model_summary.workers_of(model.slug), "slug": model.slug}
        return render_to_string("admin/catalog/on_workers.html", context)


class HasSeed(admin.SimpleListFilter):
    """Filters presets by whether their random draws are fixed."""

    title = _("seed")
    parameter_name = "seeded"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, StrOrPromise]]:
        return [("yes", _("fixed")), ("no", _("drawn for each answer"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SamplingPreset]
    ) -> QuerySet[SamplingPreset]:
        if self.value() in ("yes", "no"):
            return queryset.filter(seed__isnull=self.value() == "no")
        return queryset


@admin.register(SamplingPreset)
class SamplingPresetAdmin(EntryAdmin):
    """Presets, grouped as the sampler applies them."""

    form = SamplingPresetForm
    list_display = (
        "name", "default_mark", "is_enabled", "temperature", "top_k", "top_p", "min_p",
        "repetition_penalty", "max_tokens", "version", "updated_at",
    )  # fmt: skip
    list_filter = ("is_enabled", HasSeed)
    search_fields = ("name", "slug", "description")
    search_help_text = _("Searches name, slug and description.")
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = (
        (None, {"fields": ("name", "slug", "description", "is_enabled", "is_default")}),
        (
            _("Which tokens may come next"),
            {
                "fields": ("temperature", "top_k", "top_p", "min_p"),
                "description": _(
                    "Applied in this order: penalties, temperature, top-k, top-p, min-p. With "
                    "temperature 0 only the penalties matter."
                ),
            },
        ),
        (
            _("Against repetition"),
            {"fields": ("repetition_penalty", "presence_penalty", "frequency_penalty")},
        ),
        (_("Where it ends"), {"fields": ("max_tokens", "stop")}),
        (_("Chance"), {"fields": ("seed",)}),
        (_("Record"), {"fields": ("version", "created_at", "updated_at")}),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Let the browser accept any fraction; it knows the ranges from the validators."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.get_internal_type() == "FloatField":
            field.widget.attrs.setdefault("step", "any")
        return field
