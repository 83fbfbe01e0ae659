"""Requests in the admin: found and filtered, never changed. The board stands at /admin/latency/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chatsite.figure_format import duration
from chatsite.generation.models import Generation

if TYPE_CHECKING:  # generic to the type checker alone
    GenerationAdminBase = admin.ModelAdmin[Generation]
else:
    GenerationAdminBase = admin.ModelAdmin


@admin.register(Generation)
class GenerationAdmin(GenerationAdminBase):
    list_display = (
        "__str__", "received_at", "state", "error_code", "model_slug", "preset_slug", "source",
        "ttft", "tpot", "completion_tokens",
    )  # fmt: skip
    list_filter = ("state", "source", "model_slug", "preset_slug", "worker", "received_at")
    search_fields = ("=request_id", "=subject", "=error_code", "=worker")
    search_help_text = _("Finds a request by its id, its message's id, an error code or a worker.")
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        return super().get_queryset(request).defer("token_offsets_us", "sampling", "received_stamp")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kw: Any
    ) -> HttpResponse:
        """One request has a page of its own, with its waterfall."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        obj = self.get_object(request, object_id)
        if obj is None:
            return super().change_view(request, object_id, *args, **kw)  # which says so
        return redirect("latency:request", obj.pk)

    @admin.display(description="TTFT", ordering="ttft_us")
    def ttft(self, generation: Generation) -> str:
        return _duration(generation.ttft_us)

    @admin.display(description="TPOT", ordering="tpot_us")
    def tpot(self, generation: Generation) -> str:
        return _duration(generation.tpot_us)


def _duration(us: float | None) -> str:
    return gettext("no data") if us is None else duration(us / 1000)
