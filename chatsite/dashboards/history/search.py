"""The search language of the history page, and the rows it finds.

Words are looked for in titles and messages, all of them; "quoted words" as one. Operators narrow:
model:, preset:, state:, before:, after:, ttft:>2s, tpot:<50ms, tokens:>500. What can't be
parsed is left out and reported, never guessed.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chatsite.chat.models import Conversation, Message
from chatsite.generation.models import Generation

MAX_QUERY_CHARS = 300
MAX_TERMS = 12

STATES = {
    "writing": gettext_lazy("being written"),
    "stop": gettext_lazy("finished"),
    "length": gettext_lazy("cut at max tokens"),
    "cancelled": gettext_lazy("stopped by you"),
    "failed": gettext_lazy("failed"),
    "interrupted": gettext_lazy("interrupted"),
}

TERM = re.compile(r'(?:(?P<operator>[a-z]+):)?(?:"(?P<quoted>[^"]*)"|(?P<bare>\S+))')
AMOUNT = re.compile(r"^(?P<sign><=|>=|<|>|=)?(?P<number>\d{1,12}(?:\.\d{1,6})?)(?P<unit>ms|s|)$")
LOOKUPS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "=": "exact", None: "exact"}
UNITS_US = {"ms": 1_000, "s": 1_000_000, "": 1_000}


@dataclass(slots=True)
class Search:
    """A search as understood. `words` are what snippets mark; `problems` what was left out."""

    words: list[str] = field(default_factory=list)
    wheres: list[Q] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def find(self, rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
        """`rows` narrowed to this search."""
        for word in self.words:
            hits = _messages(text__icontains=word)
            rows = rows.filter(Q(title__icontains=word) | Q(hits))
        for where in self.wheres:
            rows = rows.filter(where)
        return rows


def parse(text: str) -> Search:
    """Words and operators of a search text."""
    search = Search()
    terms = list(TERM.finditer(text[:MAX_QUERY_CHARS].replace("\0", "")))
    if len(terms) > MAX_TERMS:
        search.problems.append(_("Only the first %d words are looked for.") % MAX_TERMS)
    for term in terms[:MAX_TERMS]:
        operator = term["operator"]
        value = term["quoted"] if term["quoted"] is not None else term["bare"]
        if operator in OPERATORS:
            try:
                search.wheres.append(OPERATORS[operator](value))
            except ValueError as error:
                search.problems.append(str(error))
        elif word := (f"{operator}:{value}" if operator else value).strip():
            search.words.append(word)  # "note:" is no operator, so it is text
    return search


def by_model(slug: str) -> Q:
    """Conversations with that model, now or in one of their answers."""
    return Q(model_slug__iexact=slug) | Q(_messages(model_slug__iexact=slug))


def by_preset(slug: str) -> Q:
    """Conversations with that preset, now or in one of their answers."""
    return Q(preset_slug__iexact=slug) | Q(_messages(preset_slug__iexact=slug))


def by_state(state: str) -> Q:
    """Conversations with an answer in that state."""
    if state == "writing":
        return Q(Exists(Message.objects.filter(conversation=OuterRef("pk")).exclude(state="done")))
    if state not in STATES:
        raise ValueError(
            _("state: is one of %(states)s, not “%(state)s”.")
            % {"states": ", ".join(STATES), "state": state}
        )
    return Q(_messages(finish_reason=state))


def by_date(lookup: str) -> Callable[[str], Q]:
    """before: the start of that day; after: its end, so that neither holds the day itself."""

    def where(value: str) -> Q:
        try:
            day = dt.date.fromisoformat(value)
            start = dt.datetime.combine(day, dt.time.min, timezone.get_current_timezone())
            edge = start + dt.timedelta(days=1) if lookup == "gte" else start
        except (ValueError, OverflowError):
            raise ValueError(_("Dates are written 2026-11-23, not “%s”.") % value) from None
        return Q(**{f"updated_at__{lookup}": edge})

    return where


def by_time(column: str, name: str) -> Callable[[str], Q]:
    """A reader of ">2s" for a column in µs; `name` is the operator in messages."""

    def where(value: str) -> Q:
        amount = AMOUNT.match(value)
        if amount is None:
            raise ValueError(
                _("%(name)s: is compared with a time, as in %(name)s:>2s or %(name)s:<300ms.")
                % {"name": name}
            )
        us = float(amount["number"]) * UNITS_US[amount["unit"]]
        return _generations(**{f"{column}__{LOOKUPS[amount['sign']]}": us})

    return where


def by_tokens(value: str) -> Q:
    """Conversations by the length of an answer. Raises ValueError."""
    amount = AMOUNT.match(value)
    if amount is None or amount["unit"] or "." in amount["number"]:
        raise ValueError(_("tokens: is compared with a whole number, as in tokens:>500."))
    number = int(amount["number"])
    return _generations(**{f"completion_tokens__{LOOKUPS[amount['sign']]}": number})


OPERATORS: dict[str, Callable[[str], Q]] = {
    "model": by_model,
    "preset": by_preset,
    "state": by_state,
    "before": by_date("lt"),
    "after": by_date("gte"),
    "ttft": by_time("ttft_us", "ttft"),
    "tpot": by_time("tpot_us", "tpot"),
    "tokens": by_tokens,
}


def _messages(**where: object) -> Exists:
    return Exists(Message.objects.filter(conversation=OuterRef("pk"), **where))


def _generations(**where: object) -> Q:
    """Conversations with an answer whose latest request is so."""
    requests = Generation.objects.filter(request_id=OuterRef("request_id"), **where)
    return Q(Exists(Message.objects.filter(Exists(requests), conversation=OuterRef("pk"))))
