"""The latency board, for staff who may view requests, and the page of one request, for its owner
too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TypedDict
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    QueryDict,
    StreamingHttpResponse,
)
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from chatsite import disk_space
from chatsite.accounts.models import User
from chatsite.accounts.signed_in import signed_in_user
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.catalog.seeded import shown
from chatsite.chat.models import Message
from chatsite.dashboards.latency import board as boards
from chatsite.dashboards.latency import exports, filters
from chatsite.dashboards.latency.definitions import DEFINITIONS, name_of
from chatsite.dashboards.latency.one_request import page_data
from chatsite.dashboards.staff_pages import render_in_admin, staff_page
from chatsite.dashboards.workers.served import unserved_models
from chatsite.generation import stats
from chatsite.generation.models import ANY, Generation, LabelSet

VIEW = "metrics.view_generation"
READ = "chat.view_conversation"
TABLES = ("time", "models", "requests")


@staff_page(VIEW)
@require_GET
def board(request: HttpRequest) -> HttpResponse:
    """The page of the board."""
    asked, form = filters.parse(request.GET)
    figures = boards.show(asked)
    groups = figures.board.groups
    context = {
        "title": _("Latency"),
        "form": form,
        "asked": asked,
        "shown": figures,
        "board": figures.board,
        "models": _choices(LanguageModel, asked.model, (g.model for g in groups)),
        "presets": _choices(SamplingPreset, asked.preset, (g.preset for g in groups)),
        "workers": _seen("worker", asked.worker),
        "api_keys": _seen("api_key", asked.api_key),
        "most_errors": max((count for _code, count in figures.board.errors), default=1),
        "definitions": DEFINITIONS,
        "terms": [(name_of(name), meaning) for name, meaning in DEFINITIONS.items()],
        "query": asked.query,
        "unserved": unserved_models(),
        "is_disk_low": disk_space.is_low(),
    }
    return render_in_admin(request, "admin/latency/board.html", context)


@staff_page(VIEW)
@require_GET
def data(request: HttpRequest) -> JsonResponse:
    """The board as JSON, for its charts; 400 names a filter's error."""
    asked, form = filters.parse(request.GET)
    if form.errors:
        return JsonResponse({"errors": form.errors.get_json_data()}, status=400)
    return JsonResponse(exports.as_json(boards.show(asked)))


@staff_page(VIEW)
@require_GET
def export(request: HttpRequest, table: str) -> HttpResponse | StreamingHttpResponse:
    """One table as CSV. Requests are streamed, since there may be a million of them."""
    if table not in TABLES:
        raise Http404
    asked, form = filters.parse(request.GET)
    if form.errors:
        return JsonResponse({"errors": form.errors.get_json_data()}, status=400)
    kind = {
        "content_type": "text/csv; charset=utf-8",
        "headers": {"Content-Disposition": f'attachment; filename="latency-{table}.csv"'},
    }
    if table == "time":
        return HttpResponse(exports.time_csv(boards.show(asked)), **kind)
    if table == "models":
        return HttpResponse(exports.models_csv(boards.show(asked)), **kind)
    selection = asked.selection(first=stats.first_received(), now=timezone.now())
    lines: AsyncIterator[str] = exports.requests_csv(selection)
    return StreamingHttpResponse(lines, **kind)


@require_GET
@login_required
@never_cache
def one_request(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """The page of one request; 404 for anybody else's."""
    user = signed_in_user(request)
    generation = Generation.objects.filter(request_id=request_id).first()
    is_own = generation is not None and generation.user_id == user.pk
    is_staff = user.is_staff and user.has_perm(VIEW)
    if user.is_staff and not (is_staff or is_own):
        raise PermissionDenied  # whatever they ask for, as on every page for staff
    if generation is None or not (is_staff or is_own):
        raise Http404
    may_read = is_own or user.has_perm(READ)
    context = {
        **page_data(generation, may_read=may_read),
        "title": _("Request %s") % generation,
        "conversation_url": conversation_url(user, generation),
        "may_read": may_read,
        "is_for_staff": is_staff,
        **({} if is_staff else {"is_nav_sidebar_enabled": False}),
    }
    return render_in_admin(request, "admin/latency/request.html", context)


def conversation_url(user: User, generation: Generation) -> str:
    """Where this person may read the conversation: the chat for the owner, the admin for staff with
    the permission, "" for everybody else.
    """
    if generation.subject is None:
        return ""
    present = Message.objects.filter(conversation__deleted_at=None)
    message = present.filter(pk=generation.subject).select_related("conversation").first()
    if message is None:
        return ""
    if message.conversation.owner_id == user.pk:
        return reverse("chat:conversation", args=[message.conversation_id])
    if user.has_perm(READ):
        return reverse("admin:chat_conversation_change", args=[message.conversation_id])
    return ""


def _choices(
    kind: type[LanguageModel | SamplingPreset], chosen: str, seen: Iterable[str]
) -> list[tuple[str, str]]:
    """Slugs and names to filter by: those of the catalogue, those seen, and the chosen one."""
    stored = kind._default_manager.values_list("slug", "name")
    names = {slug: shown(name) for slug, name in stored}
    slugs = names.keys() | {slug for slug in (*seen, chosen) if slug}
    return sorted((slug, names.get(slug, slug)) for slug in slugs)


def _seen(label: str, chosen: str) -> list[str]:
    """Values of a label to filter by: those that roll-ups have, and the chosen one."""
    values = LabelSet.objects.order_by().values_list(label, flat=True).distinct()
    return sorted({*values, chosen} - {"", ANY})


class DaySummary(TypedDict):
    """The last day's board, and how many requests run and wait now."""

    board: stats.Board
    now: dict[str, int]


def index_summary(user: User | AnonymousUser) -> DaySummary | None:
    """The last day in four figures for the admin's first page; None without the permission."""
    if not user.has_perm(VIEW):
        return None
    figures = boards.show(filters.parse(QueryDict("range=24h"))[0])
    return {"board": figures.board, "now": figures.now}
