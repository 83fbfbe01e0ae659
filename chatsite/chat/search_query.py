"""The search language of sidebar, history and API.

Words are looked for in titles and messages, all of them, in any order; each may be the beginning
of a longer one; "quoted words" stand side by side and whole. Operators narrow: model:, preset:,
state:, on:, before:, after:, ttft:>2s, tpot:<50ms, tokens:>500. What can't be understood is
reported; an operator that doesn't exist is named, and looked for as words.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chatsite.chat.models import Message
from chatsite.chat.search_text import Term
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

TERM = re.compile(
    r'(?:(?P<operator>[a-z]{2,20}):(?=[^\s/\\:]))?(?:"(?P<quoted>[^"]*)"|(?P<bare>\S+))',
    re.IGNORECASE,
)
AMOUNT = re.compile(r"^(?P<sign><=|>=|<|>|=)?(?P<number>\d{1,12}(?:\.\d{1,6})?)(?P<unit>ms|s|)$")
LOOKUPS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "=": "exact", None: "exact"}
UNITS_US = {"ms": 1_000, "s": 1_000_000, "": 1_000}


@dataclass(slots=True)
class Query:
    """A search as understood. `problems` are sentences about what was not."""

    terms: list[Term] = field(default_factory=list)
    wheres: list[Q] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    finds_nothing: bool = False

    @property
    def is_narrowed(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.terms or self.wheres or self.problems or self.finds_nothing)


def parse(text: str) -> Query:
    """Words and operators of a search text."""
    query = Query()
    parts = list(TERM.finditer(text[:MAX_QUERY_CHARS].replace("\0", "")))
    if len(parts) > MAX_TERMS:
        query.problems.append(_("Only the first %d words are looked for.") % MAX_TERMS)
    signs: list[str] = []
    for part in parts[:MAX_TERMS]:
        name = (part["operator"] or "").lower()
        value = part["quoted"] if part["quoted"] is not None else part["bare"]
        if name in OPERATORS:
            try:
                query.wheres.append(OPERATORS[name](value))
            except ValueError as error:
                query.problems.append(str(error))
            continue
        if name:
            query.problems.append(
                _("Unknown operator %(name)s: – looked for as words. Operators are %(known)s.")
                % {"name": name, "known": ", ".join(f"{known}:" for known in OPERATORS)}
            )
            value = f"{name} {value}"
        term = Term.of(value, is_quoted=part["quoted"] is not None)
        if term is not None:
            query.terms.append(term)
        elif value.strip():
            signs.append(value.strip())
    if signs:
        query.problems.append(_("“%s” has no letter and no digit to look for.") % " ".join(signs))
        query.finds_nothing = not (query.terms or query.wheres)
    return query


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


def from_day(value: str) -> Q:
    """Last changed on that day or later, in the reader's zone."""
    return Q(updated_at__gte=_start_of(_day(value), value))


def before_day(value: str) -> Q:
    """Last changed before that day began."""
    return Q(updated_at__lt=_start_of(_day(value), value))


def on_day(value: str) -> Q:
    """Last changed on that day, which may have 23 or 25 hours."""
    return from_day(value) & Q(updated_at__lt=_end_of(_day(value), value))


def to_day(value: str) -> Q:
    """Last changed on that day or earlier."""
    return Q(updated_at__lt=_end_of(_day(value), value))


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
    "on": on_day,
    "before": before_day,
    "after": from_day,
    "ttft": by_time("ttft_us", "ttft"),
    "tpot": by_time("tpot_us", "tpot"),
    "tokens": by_tokens,
}


def _day(value: str) -> dt.date:
    today = timezone.localdate()
    if value.lower() in ("today", "yesterday"):
        return today - dt.timedelta(days=value.lower() == "yesterday")
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError(_("Dates are written 2026-11-23, not “%s”.") % value) from None


def _start_of(day: dt.date, value: str) -> dt.datetime:
    try:
        zone = timezone.get_current_timezone()
        start = dt.datetime.combine(day, dt.time.min, zone)
        return start.astimezone(dt.UTC)  # databases take no date outside the calendar either
    except OverflowError:
        raise ValueError(_("Dates are written 2026-11-23, not “%s”.") % value) from None


def _end_of(day: dt.date, value: str) -> dt.datetime:
    """The start of the next day by the calendar, not 24 hours later."""
    try:
        return _start_of(day + dt.timedelta(days=1), value)
    except OverflowError:
        raise ValueError(_("Dates are written 2026-11-23, not “%s”.") % value) from None


def _messages(**where: object) -> Exists:
    return Exists(Message.objects.filter(conversation=OuterRef("pk"), **where))


def _generations(**where: object) -> Q:
    """Conversations with an answer whose latest request is so."""
    requests = Generation.objects.filter(request_id=OuterRef("request_id"), **where)
    return Q(Exists(Message.objects.filter(Exists(requests), conversation=OuterRef("pk"))))
