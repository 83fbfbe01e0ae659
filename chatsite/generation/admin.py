"""Requests in the admin: found and filtered, never changed. The board stands at /admin/latency/.

Made for millions of rows: nothing is counted to the end, every filter's values come from the label
sets of the roll-ups, and a page's rows are found in an index before they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import cached_property
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chatsite import figure_format
from chatsite.generation.models import ANY, Generation, LabelSet
from inference.contract import ErrorCode

if TYPE_CHECKING:  # generic to the type checker alone
    GenerationAdminBase = admin.ModelAdmin[Generation]
    PaginatorBase = Paginator[Generation]
else:
    GenerationAdminBase, PaginatorBase = admin.ModelAdmin, Paginator

MOST_COUNTED = 5_000
"""Rows that a list counts and leads to; who looks for older ones narrows the list."""


class BoundedPaginator(PaginatorBase):
    """Counts to MOST_COUNTED at most, and finds a page's rows by their ids."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Generation] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[:MOST_COUNTED].count()

    @property
    def has_more(self) -> bool:
        """Whether there may be rows that weren't counted."""
        return self.count >= MOST_COUNTED

    def page(self, number: int | str) -> Any:
        """The page, of which only its own rows are read whole."""
        page = super().page(number)
        ids = [row.pk for row in page.object_list.only("pk")]  # type: ignore[attr-defined]
        rows: QuerySet[Generation] = self.object_list  # type: ignore[assignment]
        page.object_list = rows.model._default_manager.filter(pk__in=ids).order_by("-received_at")
        return page


class LabelFilter(admin.SimpleListFilter):
    """Filters by one label; offers the values that roll-ups have, and the chosen one."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        label = self.parameter_name or ""
        values = LabelSet.objects.order_by().values_list(label, flat=True).distinct()
        chosen = request.GET.get(label, "")
        return [(value, value) for value in sorted({*values, chosen} - {"", ANY})]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Generation]
    ) -> QuerySet[Generation]:
        return (
            queryset.filter(**{self.parameter_name or "": self.value()})
            if self.value()
            else queryset
        )


class ModelFilter(LabelFilter):
    title, parameter_name = _("model"), "model_slug"


class PresetFilter(LabelFilter):
    title, parameter_name = _("preset"), "preset_slug"


class WorkerFilter(LabelFilter):
    title, parameter_name = _("worker"), "worker"


@admin.register(Generation)
class GenerationAdmin(GenerationAdminBase):
    list_display = (
        "__str__", "received_at", "state", "error_code", "model_slug", "preset_slug", "source",
        "ttft", "tpot", "completion_tokens",
    )  # fmt: skip
    list_filter = ("state", "source", ModelFilter, PresetFilter, WorkerFilter, "received_at")
    search_fields = ("request_id",)  # see get_search_results
    search_help_text = _("Finds a request by its id, its message's id, an error code or a worker.")
    sortable_by = ("received_at",)  # the slowest ones are on the latency board
    ordering = ("-received_at",)
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        return (
            super()
            .get_queryset(request)
            .defer("token_offsets_us", "sampling", "received_stamp", "accepted_request")
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Generation], search_term: str
    ) -> tuple[QuerySet[Generation], bool]:
        """An id, else an error code, else a worker's whole name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            found = Q(request_id=UUID(term)) | Q(subject=UUID(term))
        except ValueError:
            is_code = term in set(ErrorCode)
            found = Q(error_code=term) if is_code else Q(worker=term)
        return queryset.filter(found), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Django's, without "Show all" behind the search field."""
        changes = super().get_changelist_instance(request)
        changes.full_result_count = changes.result_count
        return changes

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

    @admin.display(description="TTFT")
    def ttft(self, generation: Generation) -> str:
        return _duration(generation.ttft_us)

    @admin.display(description="TPOT")
    def tpot(self, generation: Generation) -> str:
        return _duration(generation.tpot_us)


def _duration(us: float | None) -> str:
    return gettext("no data") if us is None else figure_format.duration(us / 1000)
