"""One page of the history: which conversations stand on it, and their figures.

Number and order of all that was found come from one query, so that a search is made once; figures
are read for the rows of the page alone. What was found is table.py's matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import (
    Count,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
    Sum,
    Value,
    Window,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce
from django.utils.functional import cached_property

from chatsite.chat.models import Conversation, Message
from chatsite.generation.models import Generation

if TYPE_CHECKING:  # generic to the type checker alone
    PaginatorBase = Paginator[Conversation]
else:
    PaginatorBase = Paginator

PAGE_SIZE = 25
MOST_PAGES = 1_000_000
SORTS = {
    "updated": "updated_at",
    "title": "title",
    "messages": "num_messages",
    "tokens": "num_tokens",
    "ttft": "last_ttft_us",
}
OWN_COLUMNS = {"updated_at", "title"}


def page_of(rows: QuerySet[Conversation], *, sort: str, number: str | None) -> Page[Conversation]:
    """The page of that number, the nearest one where there is none. At most four queries.

    `sort` is one of SORTS, with "-" before it for descending. Equal rows keep their place.
    """
    asked = int(number[:9]) if number and number.isascii() and number.isdigit() else 1
    asked = max(1, min(asked, MOST_PAGES))
    ids, count = _ids(rows, sort, asked)
    if not ids and asked > 1:
        asked = _Pages(rows.count()).num_pages
        ids, count = _ids(rows, sort, asked)
    found = Conversation.objects.filter(pk__in=ids).annotate(**_figures()).in_bulk()
    shown = [found[one] for one in ids if one in found]
    return Page(shown, asked, _Pages(count))


class _Pages(PaginatorBase):
    """Knows how many there are, and holds none."""

    def __init__(self, found: int) -> None:
        super().__init__(Conversation.objects.none(), PAGE_SIZE)
        self._found = found

    @cached_property
    def count(self) -> int:
        return self._found


def _ids(rows: QuerySet[Conversation], sort: str, number: int) -> tuple[list[UUID], int]:
    """The conversations on the page of that number, and how many there are on all of them."""
    name = SORTS[sort.removeprefix("-")]
    if name not in OWN_COLUMNS:
        rows = rows.annotate(**{name: _figures()[name]})
    column = F(name)
    order = column.desc(nulls_last=True) if sort.startswith("-") else column.asc(nulls_last=True)
    numbered = rows.annotate(found=Window(Count("*"))).order_by(order, "-updated_at", "id")
    first = (number - 1) * PAGE_SIZE
    page = list(numbered.values_list("pk", "found")[first : first + PAGE_SIZE])
    return [pk for pk, _found in page], page[0][1] if page else 0


def _figures() -> dict[str, Combinable]:
    """What a row shows beside its own columns, as annotations of a conversation."""
    messages = Message.objects.filter(conversation=OuterRef("pk")).order_by()
    answers = messages.filter(role=Message.Role.ASSISTANT)
    latest = answers.order_by("-created_at")
    per_conversation = messages.values("conversation").annotate(n=Count("id"))
    requests = Generation.objects.filter(request_id=OuterRef("request_id"))
    tokens = (
        answers.annotate(n=Subquery(requests.values("completion_tokens")[:1]))
        .values("conversation")
        .annotate(total=Sum("n"))
    )
    ttft = latest.annotate(ttft=Subquery(requests.values("ttft_us")[:1]))
    return {
        "num_messages": _whole(Subquery(per_conversation.values("n"))),
        "num_tokens": _whole(Subquery(tokens.values("total"))),
        "latest_state": Subquery(latest.values("state")[:1]),
        "latest_reason": Subquery(latest.values("finish_reason")[:1]),
        "last_ttft_us": Subquery(ttft.values("ttft")[:1]),
    }


def _whole(found: Subquery) -> Coalesce:
    return Coalesce(found, Value(0), output_field=IntegerField())
