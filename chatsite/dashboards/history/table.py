"""The table of the history page: a person's own conversations with their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from django import forms
from django.core.paginator import Page
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.chat.models import Conversation
from chatsite.chat.search import Search, search
from chatsite.chat.search_query import (
    MAX_QUERY_CHARS,
    STATES,
    by_model,
    by_preset,
    by_state,
    from_day,
    to_day,
)
from chatsite.dashboards.history.pages import SORTS, page_of

SNIPPET_CHARS = 140
CHARS_BEFORE_HIT = 30

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

    q = forms.CharField(label=_("Search"), required=False, max_length=MAX_QUERY_CHARS)
    model = forms.CharField(label=_("Model"), required=False, max_length=63)
    preset = forms.CharField(label=_("Preset"), required=False, max_length=63)
    state = forms.ChoiceField(
        label=_("State"), required=False, choices=[("", _("all")), *STATES.items()]
    )
    after = forms.DateField(
        label=_("From"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    before = forms.DateField(
        label=_("To"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    sort = forms.CharField(required=False, max_length=20)


FILTERS: dict[str, Callable[[str], Q]] = {
    "model": by_model,
    "preset": by_preset,
    "state": by_state,
    "after": from_day,
    "before": to_day,  # both inclusive, as date fields read
}


@dataclass(frozen=True, slots=True)
class HistoryHit:
    """The message that was found, and the part of it to show."""

    message: UUID
    snippet: SafeString


@dataclass(frozen=True, slots=True)
class Found:
    """One page of conversations, and all that the template shows around it."""

    page: Page[Conversation]
    form: HistoryForm
    problems: list[str]
    hits: dict[UUID, HistoryHit]
    titles: dict[UUID, SafeString]
    sort: str
    models: list[str]
    presets: list[str]
    is_narrowed: bool

    @property
    def columns(self) -> list[Column]:
        return [Column.of(name, str(label), css, self.sort) for name, label, css in COLUMNS]


def matching(user: User, query: QueryDict) -> tuple[HistoryForm, Search]:
    """`user`'s own conversations under the search and the filters of this query string."""
    form = HistoryForm(query)
    form.is_valid()
    asked = form.cleaned_data
    found = search(user, asked.get("q", ""))
    wheres = []
    for name, where in FILTERS.items():
        if not asked.get(name):
            continue
        try:
            wheres.append(where(str(asked[name])))
        except ValueError as error:
            found.query.problems.append(str(error))
    found.query.wheres.extend(wheres)
    return form, replace(found, rows=found.rows.filter(*wheres))


def find(user: User, query: QueryDict) -> Found:
    """One page of `user`'s own conversations. Nine queries at most, however many there are."""
    form, found = matching(user, query)
    own = Conversation.objects.filter(owner=user)
    sort = form.cleaned_data.get("sort") or DEFAULT_SORT
    if sort.removeprefix("-") not in SORTS:
        sort = DEFAULT_SORT
    page = page_of(found.rows, sort=sort, number=query.get("page"))
    return Found(
        page=page,
        form=form,
        problems=found.query.problems,
        hits=_snippets(found, [row.pk for row in page.object_list]),
        titles={row.pk: marked(str(row), found.marks_in(str(row))) for row in page.object_list},
        sort=sort,
        models=_slugs(LanguageModel, own, "model_slug"),
        presets=_slugs(SamplingPreset, own, "preset_slug"),
        is_narrowed=found.query.is_narrowed,
    )


def _slugs(kind: type[Model], own: QuerySet[Conversation], column: str) -> list[str]:
    used = own.order_by().values_list(column, flat=True).distinct()
    known = kind._default_manager.filter(is_enabled=True).values_list("slug", flat=True)
    return sorted({slug for slug in (*used, *known) if slug})


def _snippets(found: Search, shown: list[UUID]) -> dict[UUID, HistoryHit]:
    hits = found.hits(shown, chars=SNIPPET_CHARS, before=CHARS_BEFORE_HIT)
    return {
        conversation: HistoryHit(hit.message, marked(hit.snippet.text, hit.snippet.marks))
        for conversation, hit in hits.items()
    }


def marked(text: str, marks: Iterable[tuple[int, int]]) -> SafeString:
    """`text` escaped, with every hit in <mark>."""
    parts: list[str] = []
    at = 0
    for start, end in marks:
        parts += [escape(text[at:start]), "<mark>", escape(text[start:end]), "</mark>"]
        at = end
    return mark_safe("".join([*parts, escape(text[at:])]))
