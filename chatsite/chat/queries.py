"""What pages read: rows as views (frames.py), in a bounded number of queries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from chatsite.accounts.models import User
from chatsite.chat.frames import ConversationView, MessageView
from chatsite.chat.models import Conversation, Message
from chatsite.chat.search import Hit, search
from chatsite.error_messages import error_sentence
from chatsite.generation.models import Generation
from chatsite.generation.shown_figures import figures_ms

PAGE_SIZE = 40
MAX_PAGE_SIZE = 100
SNIPPET_CHARS = 90
CHARS_BEFORE_HIT = 10  # the hit is in sight, however narrow the sidebar is


class SidebarItem(ConversationView):
    """A row of the sidebar with the search's hits, marked as JavaScript counts (in_utf16)."""

    title_marks: list[tuple[int, int]] = []
    hit: UUID | None = None
    snippet: str = ""
    snippet_marks: list[tuple[int, int]] = []


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the sidebar, newest first."""

    items: list[SidebarItem]
    more: bool
    problems: list[str]


def conversation_rows(
    user: User,
    *,
    text: str = "",
    before: dt.datetime | None = None,
    before_id: UUID | None = None,
    limit: int = PAGE_SIZE,
) -> Page:
    """A page of a person's conversations, newest first. At most five queries.

    `before` and `before_id` are the last row's of the page before this one: conversations of one
    and the same moment stand in the order of their ids, so that none is skipped between two pages.
    With `text` those that match it (search_query.py), each with the message that was hit.
    """
    found = search(user, text)
    rows = _with_state(found.rows)
    if before is not None:
        follows = Q(updated_at__lt=before)
        if before_id is not None:
            follows |= Q(updated_at=before, id__lt=before_id)
        rows = rows.filter(follows)
    limit = max(1, min(limit, MAX_PAGE_SIZE))
    page = list(rows.order_by("-updated_at", "-id")[: limit + 1])
    shown = page[:limit]
    hits = found.hits([row.id for row in shown], chars=SNIPPET_CHARS, before=CHARS_BEFORE_HIT)
    items = [_item(row, found.marks_in(row.title), hits.get(row.id)) for row in shown]
    return Page(items, len(page) > limit, found.query.problems)


def _item(
    row: Conversation, title_marks: Sequence[tuple[int, int]], hit: Hit | None
) -> SidebarItem:
    item = SidebarItem(**_view_fields(row), title_marks=in_utf16(row.title, title_marks))
    if hit is not None:
        item.hit = hit.message
        item.snippet = hit.snippet.text
        item.snippet_marks = in_utf16(hit.snippet.text, hit.snippet.marks)
    return item


def in_utf16(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of `text` as JavaScript counts: in UTF-16 units."""
    if not spans or text.isascii():
        return list(spans)
    return [(_utf16_length(text[:start]), _utf16_length(text[:end])) for start, end in spans]


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def one_conversation(conversation_id: UUID) -> ConversationView | None:
    row = _with_state(Conversation.objects.filter(id=conversation_id)).first()
    return None if row is None else conversation_view(row)


def _with_state(rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
    unfinished = Message.objects.filter(conversation=OuterRef("pk")).exclude(
        state=Message.State.DONE
    )
    return rows.annotate(is_writing=Exists(unfinished))


Outlined = tuple[UUID, UUID | None, str]


def outline(conversation: Conversation) -> list[Outlined]:
    """Where each message stands: its id, its parent's and its role, in the order they were made."""
    rows = conversation.messages.order_by("created_at")
    return list(rows.values_list("id", "parent_id", "role"))


def branch_end(outline: Iterable[Outlined], leaf: UUID | None, limit: int) -> list[UUID]:
    """The last `limit` messages up to `leaf`, that one included, the last first."""
    parents = {message: parent for message, parent, _ in outline}
    ids: list[UUID] = []
    at = leaf if leaf in parents else next(reversed(parents), None)
    while at is not None and len(ids) < limit:
        ids.append(at)
        at = parents[at]
    return ids


def message_views(messages: Iterable[Message]) -> list[MessageView]:
    """These messages as pages show them, with the figures of each one's latest request."""
    messages = list(messages)
    generations = Generation.objects.defer("token_offsets_us").in_bulk(
        [m.request_id for m in messages if m.request_id is not None]
    )
    return [_message_view(m, generations.get(m.request_id)) for m in messages]


def conversation_view(row: Conversation) -> ConversationView:
    return ConversationView(**_view_fields(row))


class _ViewFields(TypedDict):
    id: UUID
    title: str
    updated_at: str
    created_at: str
    model: str
    preset: str
    active_leaf: UUID | None
    is_writing: bool


def _view_fields(row: Conversation) -> _ViewFields:
    return {
        "id": row.id,
        "title": row.title,
        "updated_at": row.updated_at.isoformat(),
        "created_at": row.created_at.isoformat(),
        "model": row.model_slug,
        "preset": row.preset_slug,
        "active_leaf": row.active_leaf_id,
        "is_writing": getattr(row, "is_writing", False),
    }


def _message_view(message: Message, generation: Generation | None) -> MessageView:
    return MessageView(
        id=message.id,
        parent=message.parent_id,
        role=message.role,
        text=message.text,
        state=message.state,
        finish_reason=message.finish_reason,
        error_code=message.error_code,
        error_text=error_sentence(message.error_code),
        request=message.request_id,
        position=message.num_tokens,
        model=message.model_slug,
        preset=message.preset_slug,
        created_at=message.created_at.isoformat(),
        trimmed_messages=message.trimmed_messages,
        figures=figures_ms(generation) if generation is not None else None,
    )
