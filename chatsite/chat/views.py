"""The chat's page and the JSON it reads. Writes of messages go over the socket (consumers.py)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_POST

from chatsite.accounts.signed_in import signed_in_user
from chatsite.chat import actions, deletion, queries
from chatsite.chat.access import own_conversation
from chatsite.chat.js_messages import strings
from chatsite.chat.models import Conversation, Message
from chatsite.chat.page_data import page_data
from chatsite.errors import ChatError, NotFound
from inference.contract import ErrorCode

View = Callable[..., HttpResponse]

MAX_BODY_BYTES = 64_000


@require_GET
@login_required
@ensure_csrf_cookie
@never_cache
def page(request: HttpRequest, conversation_id: UUID | None = None) -> HttpResponse:
    conversation = None
    if conversation_id is not None:
        try:
            conversation = own_conversation(signed_in_user(request), conversation_id)
        except NotFound:
            return render(request, "404.html", status=404)
    data = page_data(signed_in_user(request), conversation)
    context = {
        "page_data": data,
        "models": data["models"],
        "presets": data["presets"],
        "strings": strings(),
    }
    return render(request, "chat/chat.html", context)


def json_view(method: Callable[[View], View], view: Callable[..., Any]) -> View:
    """A view that gives a JSON-able value; errors become `{error: {code, text, field}}`."""

    @method
    @never_cache
    @wraps(view)
    def wrapped(request: HttpRequest, **path: Any) -> HttpResponse:
        try:
            if not request.user.is_authenticated:
                raise ChatError(ErrorCode.SIGNED_OUT)
            return _json(view(request, **path))
        except ChatError as error:
            content = {"code": error.code, "text": error.text, "field": error.field}
            return _json({"error": content}, status=error.status)

    return wrapped


def _json(value: Any, *, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(value), content_type="application/json", status=status)


def json_body(request: HttpRequest) -> dict[str, Any]:
    """The JSON object that was sent. Raises ChatError."""
    try:
        if len(request.body) > MAX_BODY_BYTES:
            raise ChatError(ErrorCode.BODY_TOO_BIG)
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise ChatError(ErrorCode.BAD_JSON) from error
    if not isinstance(body, dict):
        raise ChatError(ErrorCode.BAD_JSON, _("The request must be a JSON object."))
    return body


def _text_field(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise ChatError(
            ErrorCode.BAD_FIELD, _("“%(name)s” must be a text.") % {"name": name}, field=name
        )
    return value


def _id_field(value: str, name: str) -> UUID | None:
    try:
        return UUID(value) if value else None
    except ValueError:
        text = _("“%(name)s” must be an id.") % {"name": name}
        raise ChatError(ErrorCode.BAD_FIELD, text, field=name) from None


def _limit(limit: str) -> int:
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= queries.MAX_PAGE_SIZE):
        text = _("“limit” must lie between 1 and %(most)d.") % {"most": queries.MAX_PAGE_SIZE}
        raise ChatError(ErrorCode.BAD_FIELD, text, field="limit")
    return int(limit)


def _conversations(request: HttpRequest) -> Any:
    before: dt.datetime | None = None
    if request.GET.get("before"):
        try:
            before = parse_datetime(request.GET["before"])
        except ValueError:
            before = None
        if before is None or before.tzinfo is None:
            raise ChatError(
                ErrorCode.BAD_FIELD, _("“before” must be a time with its zone."), field="before"
            )
    before_id = _id_field(request.GET.get("before_id", ""), "before_id")
    limit = _limit(request.GET.get("limit", str(queries.PAGE_SIZE)))
    user = signed_in_user(request)
    page = queries.conversation_rows(
        user,
        text=request.GET.get("q", ""),
        before=before,
        before_id=before_id,
        limit=limit,
    )
    is_first = before is None
    return {
        "items": page.items,
        "more": page.more,
        "problems": page.problems,
        "deletion": deletion.latest(user) if is_first else None,
    }


def _conversation(request: HttpRequest, conversation_id: UUID) -> Any:
    """All messages; with `limit` the last ones of a branch: that of `leaf`, or the shown one.

    `outline` tells where every message stands, the ones that are not sent too; asked for by `leaf`
    the page has it already.
    """
    conversation = own_conversation(signed_in_user(request), conversation_id)
    leaf = _id_field(request.GET.get("leaf", ""), "leaf")
    outline = queries.outline(conversation)
    messages = conversation.messages.defer("token_ids").order_by("created_at")
    if "limit" in request.GET:
        limit = _limit(request.GET["limit"])
        ids = queries.branch_end(outline, leaf or conversation.active_leaf_id, limit)
        unfinished = ~Q(state=Message.State.DONE)
        messages = messages.filter(Q(id__in=ids) | unfinished if leaf is None else Q(id__in=ids))
    return {
        "conversation": queries.one_conversation(conversation.id),
        "outline": [] if leaf else outline,
        "messages": queries.message_views(messages),
    }


def _rename(request: HttpRequest, conversation_id: UUID) -> Any:
    title = _text_field(json_body(request), "title")
    actions.rename_conversation(signed_in_user(request), conversation_id, title)
    return {"conversation": queries.one_conversation(conversation_id)}


def _delete(request: HttpRequest, conversation_id: UUID) -> Any:
    user = signed_in_user(request)
    own_conversation(user, conversation_id)
    return {"deletion": deletion.delete(user, Conversation.objects.filter(id=conversation_id))}


def _restore(request: HttpRequest) -> Any:
    try:
        moment = parse_datetime(_text_field(json_body(request), "at"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ChatError(ErrorCode.BAD_FIELD, _("“at” must be a time with its zone."), field="at")
    restored = deletion.restore(signed_in_user(request), moment)
    if not restored:
        raise NotFound(_("It is too late to undo this."))
    return {"restored": restored}


def _leaf(request: HttpRequest, conversation_id: UUID) -> Any:
    own_conversation(signed_in_user(request), conversation_id)
    try:
        message_id = UUID(_text_field(json_body(request), "message"))
    except ValueError as error:
        raise ChatError(
            ErrorCode.BAD_FIELD, _("“message” must be an id."), field="message"
        ) from error
    actions.show_branch(signed_in_user(request), conversation_id, message_id)
    return {"conversation": queries.one_conversation(conversation_id)}


# Compressed although the length of a reply could betray a secret beside a text that an attacker
# chose (BREACH): these replies hold no form token and no session, another site's page can't make a
# browser ask for them with its cookies (SameSite=Lax), and Django adds up to 100 random bytes.
conversations = gzip_page(json_view(require_GET, _conversations))
conversation = gzip_page(json_view(require_GET, _conversation))
rename = json_view(require_POST, _rename)
delete = json_view(require_POST, _delete)
leaf = json_view(require_POST, _leaf)
restore = json_view(require_POST, _restore)
