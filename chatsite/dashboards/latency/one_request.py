"""Everything known of one request, in the order a reader asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypedDict

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chatsite.dashboards import figures as shown
from chatsite.dashboards.latency.definitions import DEFINITIONS, name_of
from chatsite.dashboards.latency.waterfall import Formula, Waterfall, formula, waterfall
from chatsite.generation.models import Attempt, Generation
from chatsite.generation.shown_figures import ShownFigures, figures_ms

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

LEGEND = {
    "web": lambda: _("web"),
    "queue": lambda: _("queue"),
    "admit": lambda: _("waiting in the worker"),
    "prefill": lambda: _("prefill"),
    "decode": lambda: _("decode"),
    "recovery": lambda: _("recovery"),
    "store": lambda: _("store"),
    "waiting": lambda: _("browser waits"),
    "painting": lambda: _("browser paints"),
    "unattributed": lambda: _("unattributed"),
}


WRITTEN = ("stop",)  # parameters that hold what somebody wrote
QUOTES = ("bad_schema",)  # error codes whose text quotes it


class Gaps(TypedDict):
    gaps_ms: list[float | None]


class RequestPage(TypedDict):
    """What the template of one request shows. `sampling` are names and values as JSON."""

    generation: Generation
    attempts: list[Attempt]
    figures: ShownFigures
    all_figures: list[tuple[str, str, StrOrPromise]]
    waterfall: Waterfall
    legend: list[tuple[str, str]]
    formula: Formula | None
    itl: Gaps
    sampling: list[tuple[str, str]]
    error_detail: str
    definitions: Mapping[str, StrOrPromise]


def page_data(generation: Generation, *, may_read: bool) -> RequestPage:
    """What the template shows. One query, for the attempts.

    Without `may_read` nothing that somebody wrote is in it.
    """
    attempts = list(generation.attempts.order_by("number"))
    bars = waterfall(generation, attempts)
    return {
        "generation": generation,
        "attempts": attempts,
        "figures": figures_ms(generation),
        "all_figures": all_figures(generation),
        "waterfall": bars,
        "legend": legend(bars),
        "formula": formula(generation),
        "itl": {"gaps_ms": gaps_ms(generation, attempts)},
        "sampling": [
            (name, json.dumps(value) if may_read or name not in WRITTEN else _("not shown"))
            for name, value in sorted(generation.sampling.items())
            if value or name not in WRITTEN
        ],
        "error_detail": generation.error_text
        if may_read and generation.error_code in QUOTES
        else "",
        "definitions": DEFINITIONS,
    }


def gaps_ms(generation: Generation, attempts: list[Attempt]) -> list[float | None]:
    """The gap before each token from the second on; None where a worker was lost in between."""
    firsts = set(accumulate(a.tokens for a in attempts if a.tokens))
    gaps = pairwise(generation.token_offsets_us)
    return [None if n in firsts else (b - a) / 1000 for n, (a, b) in enumerate(gaps, 1)]


def legend(bars: Waterfall) -> list[tuple[str, str]]:
    """Kinds of bars that the waterfall has, with their names."""
    kinds = {bar.kind for lane in bars.lanes for bar in lane.bars}
    return [(kind, words()) for kind, words in LEGEND.items() if kind in kinds]


def all_figures(generation: Generation) -> list[tuple[str, str, StrOrPromise]]:
    """Name under docs/measures.md, value as written, meaning. Times to the microsecond."""
    g = generation
    times = (
        ("queue", g.queue_us), ("prefill", g.prefill_us), ("TTFT", g.ttft_us),
        ("decode", g.decode_us), ("recovery", g.recovery_us), ("latency", g.latency_us),
        ("TPOT", g.tpot_us), ("ITL p50", g.itl_p50_us), ("ITL p95", g.itl_p95_us),
        ("ITL max", g.itl_max_us), ("user TTFT", g.user_ttft_us),
        ("user latency", g.user_latency_us), ("delivery", g.delivery_us),
    )  # fmt: skip
    rows: list[tuple[str, str, StrOrPromise]] = [
        (name_of(name), shown.exact_ms(us), DEFINITIONS.get(name.split()[0], ""))
        for name, us in times
    ]
    tpot_floor, prefill_floor = best_floors(g)
    both_floors = (
        (_("TPOT floor"), tpot_floor, g.tpot_us),
        (_("prefill floor"), prefill_floor, g.prefill_us),
    )
    for name, floor, measured in both_floors:
        rows.append((name, shown.exact_ms(floor), FLOOR_MEANING))
        rows.append((_("%s / measured") % name, roofline(floor, measured), _("The roofline.")))
    rows += [
        (_("prompt tokens"), shown.count(g.prompt_tokens), ""),
        (_("cached tokens"), shown.count(g.cached_tokens), _("Keys and values were reused.")),
        (_("completion tokens"), shown.count(g.completion_tokens), _("Sampled for this request.")),
        (_("continued tokens"), shown.count(g.continued_tokens), _("Given by an earlier request.")),
        (_("batch, mean"), shown.rate(g.batch_mean), _("Requests that shared its decode steps.")),
        (_("attempts"), shown.count(g.attempts_used), ""),
    ]
    return rows


FLOOR_MEANING = gettext_lazy(
    "What the hardware allows, at batch 1, by the best speed that was seen on this device: a "
    "worker measures it when it loads the model, and again while it has nothing to do."
)
LOOKED_AT = 1_000


def best_floors(generation: Generation) -> tuple[float | None, float | None]:
    """The lowest floors of TPOT and prefill that requests like this one had on its device.

    A floor that was measured while the machine was busy is too high; the lowest is the truest. The
    prefill's depends on the prompt, so it is scaled as the floors of TPOT are.
    """
    own, prefill = generation.tpot_floor_us, generation.prefill_floor_us
    if not own or not generation.device:
        return own, prefill
    recent = Generation.objects.filter(model_slug=generation.model_slug).order_by("-received_at")
    seen = recent.values_list("device", "dtype", "tpot_floor_us")[:LOOKED_AT]
    same = (generation.device, generation.dtype)
    best = min([own, *(floor for *where, floor in seen if tuple(where) == same and floor)])
    return best, prefill and prefill * best / own


def roofline(floor: float | None, measured: float | None) -> str:
    """The share of what the hardware allows. More than all of it is a wrong floor, so unknown."""
    if not floor or not measured:
        return shown.percent(None)
    if floor > measured:
        return _("unknown: the machine was never idle enough to measure the floor")
    return shown.percent(floor / measured)
