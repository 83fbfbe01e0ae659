"""One's own conversations in a table. Somebody else's never appear, and can't be named."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from chatsite.accounts.signed_in import signed_in_user
from chatsite.chat import actions
from chatsite.dashboards.history.table import find
from chatsite.errors import ChatError, NotFound


@login_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """One page of the person's conversations, searched and sorted."""
    context = {"found": find(signed_in_user(request), request.GET)}
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
    """Delete the chosen conversations; either all of them are one's own, or none is touched."""
    try:
        chosen = {UUID(value) for value in request.POST.getlist("conversation")[:100]}
    except ValueError as error:
        raise Http404 from error
    if not chosen:
        messages.error(request, _("Choose at least one conversation."))
        return _back(request)
    user = signed_in_user(request)
    if user.conversations.filter(id__in=chosen).count() != len(chosen):
        raise Http404
    for conversation_id in chosen:
        try:
            actions.delete_conversation(user, conversation_id)
        except NotFound:
            continue  # gone meanwhile, in another tab
    text = _("Deleted.") if len(chosen) == 1 else _("%d conversations deleted.") % len(chosen)
    messages.success(request, text)
    return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    """To the table as it was, filters and page kept."""
    target = request.POST.get("next", "")
    home = reverse("history:list")
    is_ours = url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    return redirect(target if is_ours and target.startswith(home) else home)
