"""The table of the history page: a person's own conversations with their figures."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from django import forms
from django.core.paginator import Page, Paginator
from django.db.models import (
    Count,
    F,
    IntegerField,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce
from django.http import QueryDict
from django.utils.functional import cached_property
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.chat.models import Conversation, Message
from chatsite.dashboards.history import search
from chatsite.generation.models import Generation

if TYPE_CHECKING:  # generic to the type checker alone
    PaginatorBase = Paginator[Conversation]
else:
    PaginatorBase = Paginator

PAGE_SIZE = 25
SNIPPET_CHARS = 140

SORTS = {
    "updated": "updated_at",
    "title": "title",
    "messages": "num_messages",
    "tokens": "num_tokens",
    "ttft": "last_ttft_us",
}
DEFAULT_SORT = "-updated"


COLUMNS = (
    ("title", _("Title"), "title"),
    ("", _("Model / preset"), ""),
    ("", _("State"), ""),
    ("messages", _("Messages"), "n"),
    ("tokens", _("Tokens"), "n"),
    ("ttft", _("TTFT"), "n"),
    ("updated", _("Last changed"), "n"),
)
ASCENDS_FIRST = {"title"}


@dataclass(frozen=True, slots=True)
class Column:
    """A head of the table. `sort` is what a click asks for; "" where there is nothing to sort."""

    label: str
    css: str
    sort: str
    direction: Literal["", "ascending", "descending"]

    @classmethod
    def of(cls, name: str, label: str, css: str, current: str) -> Column:
        """The head of a column, given the table's current sort."""
        if not name:
            return cls(label, css, "", "")
        if current.removeprefix("-") != name:
            return cls(label, css, name if name in ASCENDS_FIRST else f"-{name}", "")
        is_down = current.startswith("-")
        turned = name if is_down else f"-{name}"
        return cls(label, css, turned, "descending" if is_down else "ascending")


class HistoryForm(forms.Form):
    """The search and the filters above the table."""

    q = forms.CharField(label=_("Search"), required=False, max_length=search.MAX_QUERY_CHARS)
    model = forms.CharField(label=_("Model"), required=False, max_length=63)
    preset = forms.CharField(label=_("Preset"), required=False, max_length=63)
    state = forms.ChoiceField(
        label=_("State"), required=False, choices=[("", _("all")), *search.STATES.items()]
    )
    after = forms.DateField(
        label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    before = forms.DateField(
        label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    sort = forms.CharField(required=False, max_length=20)


@dataclass(frozen=True, slots=True)
class Found:
    """One page of conversations, and all that the template shows around it."""

    page: Page[Conversation]
    form: HistoryForm
    problems: list[str]
    snippets: dict[UUID, SafeString]
    sort: str
    models: list[str]
    presets: list[str]
    is_narrowed: bool

    @property
    def columns(self) -> list[Column]:
        return [Column.of(name, str(label), css, self.sort) for name, label, css in COLUMNS]


def _shifted(day: dt.date, days: int) -> dt.date:
    """So many days later, or the day itself at either end of the calendar."""
    try:
        return day + dt.timedelta(days=days)
    except OverflowError:
        return day


def find(user: User, query: QueryDict) -> Found:
    """One page of `user`'s own conversations. Seven queries at most, however many there are."""
    form = HistoryForm(query)
    form.is_valid()
    asked = form.cleaned_data
    understood = search.parse(asked.get("q", ""))
    if asked.get("model"):
        understood.wheres.append(search.by_model(asked["model"]))
    if asked.get("preset"):
        understood.wheres.append(search.by_preset(asked["preset"]))
    if asked.get("state"):
        understood.wheres.append(search.by_state(asked["state"]))
    if asked.get("after"):  # the fields are inclusive, as date fields read
        day_before = _shifted(asked["after"], -1)
        understood.wheres.append(search.by_date("gte")(day_before.isoformat()))
    if asked.get("before"):
        day_after = _shifted(asked["before"], 1)
        understood.wheres.append(search.by_date("lt")(day_after.isoformat()))
    own = Conversation.objects.filter(owner=user)
    sort = asked.get("sort") or DEFAULT_SORT
    if sort.removeprefix("-") not in SORTS:
        sort = DEFAULT_SORT
    found = understood.find(own)
    page = _Pages(_with_figures(found), found, sort).get_page(query.get("page"))
    return Found(
        page=page,
        form=form,
        problems=understood.problems,
        snippets=_snippets([row.pk for row in page.object_list], understood.words),
        sort=sort,
        models=_slugs(LanguageModel, own, "model_slug"),
        presets=_slugs(SamplingPreset, own, "preset_slug"),
        is_narrowed=bool(understood.words or understood.wheres or understood.problems),
    )


class _Pages(PaginatorBase):
    """Counts without the figures, and orders so that equal rows keep their place."""

    def __init__(
        self, rows: QuerySet[Conversation], countable: QuerySet[Conversation], sort: str
    ) -> None:
        column = F(SORTS[sort.removeprefix("-")])
        order = (
            column.desc(nulls_last=True) if sort.startswith("-") else column.asc(nulls_last=True)
        )
        super().__init__(rows.order_by(order, "-updated_at", "id"), PAGE_SIZE)
        self._countable = countable

    @cached_property
    def count(self) -> int:
        return self._countable.count()


def _with_figures(rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
    messages = Message.objects.filter(conversation=OuterRef("pk")).order_by()
    answers = messages.filter(role=Message.Role.ASSISTANT)
    latest = answers.order_by("-created_at")
    per_conversation = messages.values("conversation").annotate(n=Count("id"))
    requests = Generation.objects.filter(request_id=OuterRef("request_id"))
    of_latest = Generation.objects.filter(request_id=OuterRef("latest_request"))
    tokens = (
        answers.annotate(n=Subquery(requests.values("completion_tokens")[:1]))
        .values("conversation")
        .annotate(total=Sum("n"))
    )
    zero = Value(0)
    return rows.annotate(
        num_messages=Coalesce(
            Subquery(per_conversation.values("n"), output_field=IntegerField()), zero
        ),
        num_tokens=Coalesce(Subquery(tokens.values("total"), output_field=IntegerField()), zero),
        latest_state=Subquery(latest.values("state")[:1]),
        latest_reason=Subquery(latest.values("finish_reason")[:1]),
        latest_request=Subquery(latest.values("request_id")[:1]),
    ).annotate(last_ttft_us=Subquery(of_latest.values("ttft_us")[:1]))


def _slugs(kind: type[Model], own: QuerySet[Conversation], column: str) -> list[str]:
    used = own.order_by().values_list(column, flat=True).distinct()
    known = kind._default_manager.filter(is_enabled=True).values_list("slug", flat=True)
    return sorted({slug for slug in (*used, *known) if slug})


def _snippets(shown: list[UUID], words: list[str]) -> dict[UUID, SafeString]:
    """Per conversation its first message with one of the words, cut around it and marked."""
    if not words:
        return {}
    anywhere = Q()
    for word in words:
        anywhere |= Q(text__icontains=word)
    hits = (
        Message.objects.filter(anywhere, conversation__in=shown)
        .order_by("created_at")
        .values_list("conversation_id", "text")
    )
    found: dict[UUID, SafeString] = {}
    for conversation_id, text in hits.iterator():
        if conversation_id not in found:
            found[conversation_id] = marked(around(text, words), words)
    return found


def around(text: str, words: list[str]) -> str:
    """SNIPPET_CHARS of `text` about the first of `words`, on one line."""
    lowered = text.lower()
    at = min((i for word in words if (i := lowered.find(word.lower())) >= 0), default=0)
    start = max(0, at - SNIPPET_CHARS // 3)
    cut = " ".join(text[start : start + SNIPPET_CHARS].split())
    return f"{'… ' if start else ''}{cut}{' …' if start + SNIPPET_CHARS < len(text) else ''}"


def marked(text: str, words: list[str]) -> SafeString:
    """`text` escaped, with every hit in <mark>."""
    hit = re.compile(
        "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True)), re.IGNORECASE
    )
    parts: list[str] = []
    at = 0
    for match in hit.finditer(text):
        parts += [escape(text[at : match.start()]), "<mark>", escape(match.group()), "</mark>"]
        at = match.end()
    return mark_safe("".join([*parts, escape(text[at:])]))
