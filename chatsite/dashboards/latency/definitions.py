"""What each figure means, in the words that the pages show. The source is docs/measures.md."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

DEFINITIONS = {
    "TTFT": _(
        "Time to first token: from the moment the site accepts the message until its first token "
        "is sampled. TTFT = queue + prefill."
    ),
    "TPOT": _(
        "Time per output token: decode / (n − 1), where n counts every token sampled for the "
        "answer, end token included. Undefined for fewer than two tokens; the outage of a lost "
        "worker is no part of it."
    ),
    "queue": _("From accepting the message until its first prefill step begins."),
    "prefill": _("From the first prefill step to the first token: reading the prompt."),
    "decode": _("From the first token to the last: writing the answer."),
    "recovery": _(
        "Between the last token of a lost attempt and the first of the next. 0 without one."
    ),
    "latency": _(
        "From accepting the message to the last token: TTFT + decode + recovery, exactly. Without "
        "recovery that is TTFT + TPOT × (n − 1): the first token is paid for by TTFT."
    ),
    "delivery": _(
        "What network, web and browser added: from sending to the last paint on the browser's own "
        "clock, less the latency. Only for requests whose browser reported."
    ),
    "unattributed": _("Time that no stamp explains. Never folded into another bar."),
    "ITL": _("Inter-token latency: the gaps between neighbouring tokens of one request."),
    "throughput": _(
        "Tokens sampled per second of wall time, over all requests shown. Not to be confused with "
        "one request's decode speed, 1000 / TPOT."
    ),
    "error share": _("Failed and interrupted requests among those that have ended."),
    "percentiles": _(
        # xgettext:no-python-format
        "Nearest-rank: the smallest measured value that at least p % of requests don't exceed. "
        "Exact over up to 20,000 requests in the time shown; over more they come from sketches and "
        "are within 1 % of the exact one. Never averaged from other percentiles. p99 over fewer "
        "than 1,000 requests is marked ≈: it rests on fewer than ten of them."
    ),
    "browser reports refused": _(
        "A browser's stamps are kept only where they can be: the first paint not after the last, "
        "no paint before its token, and no more time than has passed since the question came."
    ),
    "no data": _("No request shown has this figure. It isn't zero."),
    "elsewhere": _(
        "vLLM's client counts TPOT as here. guidellm's TPOT includes the first token, and its ITL "
        "is our TPOT; TGI's time per token includes prefill."
    ),
}

NAMES = {
    "queue": _("queue"),
    "prefill": _("prefill"),
    "decode": _("decode"),
    "recovery": _("recovery"),
    "latency": _("latency"),
    "delivery": _("delivery"),
    "unattributed": _("unattributed"),
    "throughput": _("throughput"),
    "error share": _("error share"),
    "percentiles": _("percentiles"),
    "browser reports refused": _("browser reports refused"),
    "no data": _("no data"),
    "elsewhere": _("elsewhere"),
    "user TTFT": _("user TTFT"),
    "user latency": _("user latency"),
}
"""Figures whose name is words; the others are abbreviations, the same in every language."""


def name_of(figure: str) -> str:
    """A figure's name as the pages write it; JSON and CSV keep the key."""
    return str(NAMES.get(figure, figure))
