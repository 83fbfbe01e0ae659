"""One's own conversations in a table. Somebody else's never appear, and can't be named."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from chatsite.accounts.signed_in import signed_in_user
from chatsite.chat import actions, deletion
from chatsite.chat.models import Conversation
from chatsite.dashboards.history.table import find, matching
from chatsite.errors import ChatError, NotFound


@login_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """One page of the person's conversations, searched and sorted."""
    user = signed_in_user(request)
    context = {"found": find(user, request.GET), "deletion": deletion.latest(user)}
    return render(request, "history/list.html", context)


@login_required
@require_POST
def rename(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Give one of the person's conversations another title."""
    try:
        title = request.POST.get("title", "")
        actions.rename_conversation(signed_in_user(request), conversation_id, title)
    except NotFound as error:
        raise Http404 from error
    except ChatError as error:
        messages.error(request, error.text)
    else:
        messages.success(request, _("Renamed."))
    return _back(request)


@login_required
@require_POST
def delete(request: HttpRequest) -> HttpResponse:
    """Delete the chosen conversations, or with `all` every one that the `query` finds.

    Either all of the chosen are one's own, or none is touched. The page then offers to undo it.
    """
    user = signed_in_user(request)
    if request.POST.get("all"):
        _form, found = matching(user, QueryDict(request.POST.get("query", "")))
        chosen = found.rows
    else:
        chosen = _chosen(request)
    if deletion.delete(user, chosen) is None:
        messages.error(request, _("Choose at least one conversation."))
    return _back(request)


@login_required
@require_POST
def restore(request: HttpRequest) -> HttpResponse:
    """Undo a deletion, which its moment names."""
    try:
        moment = parse_datetime(request.POST.get("at", ""))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Http404
    restored = deletion.restore(signed_in_user(request), moment)
    if restored:
        text = ngettext("It is back.", "%(count)d conversations are back.", len(restored))
        messages.success(request, text % {"count": len(restored)})
    else:
        messages.error(request, _("It is too late to undo this."))
    return _back(request)


def _chosen(request: HttpRequest) -> QuerySet[Conversation]:
    try:
        ids = {UUID(value) for value in request.POST.getlist("conversation")[:100]}
    except ValueError as error:
        raise Http404 from error
    own = signed_in_user(request).conversations.filter(id__in=ids)
    if own.count() != len(ids):
        raise Http404
    return own


def _back(request: HttpRequest) -> HttpResponse:
    """To the table as it was, filters and page kept."""
    target = request.POST.get("next", "")
    home = reverse("history:list")
    is_ours = url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    return redirect(target if is_ours and target.startswith(home) else home)
