"""The page of one answer, the data it draws, and the branch it may make. One's own answers only."""

from __future__ import annotations

import gzip
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from chatsite.accounts.signed_in import signed_in_user
from chatsite.chat import actions
from chatsite.chat.access import own_message
from chatsite.chat.models import Message
from chatsite.chat.views import json_body, json_view
from chatsite.errors import ChatError, NotFound
from chatsite.generation.models import Generation
from chatsite.generation.shown_figures import figures_ms
from chatsite.inspect.answer_data import answer_data
from chatsite.inspect.js_messages import strings
from inference.contract import ErrorCode


def own_answer(request: HttpRequest, message_id: UUID) -> Message:
    return own_message(signed_in_user(request), message_id, role=Message.Role.ASSISTANT)


@require_GET
@login_required
@ensure_csrf_cookie
@never_cache
def page(request: HttpRequest, message_id: UUID) -> HttpResponse:
    try:
        answer = own_answer(request, message_id)
    except NotFound:
        return render(request, "404.html", status=404)
    rows = Generation.objects.defer("token_offsets_us")
    generation = rows.filter(pk=answer.request_id).first() if answer.request_id else None
    context = {
        "answer": answer,
        "conversation": answer.conversation,
        "generation": generation,
        "figures": figures_ms(generation) if generation else None,
        "origin": answer.branched_from,
        "strings": strings(),
    }
    return render(request, "inspect/answer.html", context)


def _data(request: HttpRequest, message_id: UUID) -> Any:
    return answer_data(own_answer(request, message_id))


def _branch(request: HttpRequest, message_id: UUID) -> Any:
    """Body: `answer` and `request`, ids that the page made, `position` and `token`."""
    body = json_body(request)
    accepted = actions.branch_answer(
        signed_in_user(request),
        answer_id=_id(body, "answer"),
        request_id=_id(body, "request"),
        message_id=message_id,
        position=_whole(body, "position"),
        token_id=_whole(body, "token"),
    )
    url = reverse("chat:conversation", args=[accepted.conversation.id])
    return {"answer": accepted.messages[-1].id, "url": url}


def _id(body: dict[str, Any], name: str) -> UUID:
    try:
        return UUID(str(body.get(name)))
    except ValueError:
        text = _("“%(name)s” must be an id.") % {"name": name}
        raise ChatError(ErrorCode.BAD_FIELD, text, field=name) from None


def _whole(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        text = _("“%(name)s” must be a whole number.") % {"name": name}
        raise ChatError(ErrorCode.BAD_FIELD, text, field=name)
    return value


_plain_data = json_view(require_GET, _data)
branch = json_view(require_POST, _branch)


def data(request: HttpRequest, message_id: UUID) -> HttpResponse:
    """Compressed, as the chat's replies are and for the reasons beside them (chat/views.py).

    Columns of numbers take gzip_page's level four times as long, for a tenth of the size.
    """
    response = _plain_data(request, message_id=message_id)
    patch_vary_headers(response, ("Accept-Encoding",))
    if response.status_code == 200 and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = gzip.compress(response.content, 1)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.content))
    return response
