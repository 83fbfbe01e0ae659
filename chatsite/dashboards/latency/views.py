"""The latency board, for staff who may view requests, and the page of one request, for its owner
too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any
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
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from chatsite.accounts.models import User
from chatsite.accounts.signed_in import signed_in_user
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.chat.models import Message
from chatsite.dashboards.latency import board as boards
from chatsite.dashboards.latency import filters
from chatsite.dashboards.latency.definitions import DEFINITIONS
from chatsite.dashboards.latency.one_request import page_data
from chatsite.dashboards.staff_pages import render_in_admin, staff_page
from chatsite.generation.models import Generation

VIEW = "metrics.view_generation"
READ = "chat.view_conversation"
TABLES = ("time", "models", "requests")


@staff_page(VIEW)
@require_GET
def board(request: HttpRequest) -> HttpResponse:
    """The page of the board."""
    asked, form = filters.parse(request.GET)
    shown = boards.show(asked)
    context = {
        "title": _("Latency"),
        "form": form,
        "asked": asked,
        "shown": shown,
        "board": shown.board,
        "models": _choices(LanguageModel, asked.model, (g.model for g in shown.board.groups)),
        "presets": _choices(SamplingPreset, asked.preset, (g.preset for g in shown.board.groups)),
        "most_errors": max((count for _code, count in shown.board.errors), default=1),
        "definitions": DEFINITIONS,
        "query": _clean(request.GET),
    }
    return render_in_admin(request, "admin/latency/board.html", context)


@staff_page(VIEW)
@require_GET
def data(request: HttpRequest) -> JsonResponse:
    """The board as JSON, for its charts; 400 names a filter's error."""
    asked, form = filters.parse(request.GET)
    if form.errors:
        return JsonResponse({"errors": form.errors.get_json_data()}, status=400)
    return JsonResponse(boards.as_json(boards.show(asked)))


@staff_page(VIEW)
@require_GET
def export(request: HttpRequest, table: str) -> JsonResponse | StreamingHttpResponse:
    """One table as CSV, streamed, so that it may be long."""
    if table not in TABLES:
        raise Http404
    asked, form = filters.parse(request.GET)
    if form.errors:
        return JsonResponse({"errors": form.errors.get_json_data()}, status=400)
    writer = csv.writer(_Echo())
    lines: Iterator[str] = (writer.writerow(r) for r in boards.csv_rows(boards.show(asked), table))
    name = f'attachment; filename="latency-{table}.csv"'
    return StreamingHttpResponse(
        lines, content_type="text/csv; charset=utf-8", headers={"Content-Disposition": name}
    )


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
    context = page_data(generation, may_read=may_read) | {
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
    kind: type[LanguageModel | SamplingPreset], chosen: str, seen: Iterator[str]
) -> list[tuple[str, str]]:
    """Slugs and names to filter by: those of the catalogue, those seen, and the chosen one."""
    names = dict(kind._default_manager.values_list("slug", "name"))
    slugs = names.keys() | {slug for slug in (*seen, chosen) if slug}
    return sorted((slug, names.get(slug, slug)) for slug in slugs)


def _clean(query: QueryDict) -> str:
    """The query string without empty parameters, for links that keep the filter."""
    kept = query.copy()
    for name in [name for name, value in kept.items() if not value]:
        del kept[name]
    return kept.urlencode()


class _Echo:
    """A file that gives back what is written to it: csv's way to stream."""

    def write(self, line: str) -> str:
        return line


def index_summary(user: User | AnonymousUser) -> dict[str, Any] | None:
    """The last day in four figures for the admin's first page; None without the permission."""
    if not user.has_perm(VIEW):
        return None
    shown = boards.show(filters.parse(QueryDict("range=24h"))[0])
    return {"board": shown.board, "now": shown.now}
