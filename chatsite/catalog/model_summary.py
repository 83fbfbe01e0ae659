"""What a model is made of, as rows that a page can show.

inference.client.describe reads the files' headers, never weights; here sizes and counts are put
into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from chatsite import figure_format
from chatsite.catalog.worker_status import Workers, workers
from inference import client

SIZES = ("bytes",)


@dataclass(frozen=True, slots=True)
class ParameterShare:
    """One part of the model; `width` is their share of all in whole percent."""

    name: str
    written: str
    percent: str
    width: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """Facts as name and value, and how the parameters divide among the parts."""

    facts: list[tuple[str, str]]
    parts: list[ParameterShare]


def summarize(slug: str) -> ModelSummary:
    """What the model's folder says. Raises inference.client.ModelUnknown for one not readable."""
    return arrange(client.describe(slug))


def workers_of(slug: str) -> Workers:
    """The workers that have this model loaded."""
    return workers().of_model(slug)


def arrange(description: dict[str, Any]) -> ModelSummary:
    """Plain values become facts in the order they came; a mapping of numbers becomes the parts."""
    facts: list[tuple[str, str]] = []
    parts: list[ParameterShare] = []
    for name, value in description.items():
        label = str(LABELS.get(name, name.replace("_", " ")))
        if isinstance(value, dict):
            if value and all(isinstance(n, int) for n in value.values()):
                parts = _parts(value)
            else:
                facts += [(f"{label}: {k}", written(k, v)) for k, v in value.items()]
        elif value is not None and value != "":
            facts.append((label, written(name, value)))
    return ModelSummary(facts, parts)


def _parts(parameters: dict[str, int]) -> list[ParameterShare]:
    whole = sum(parameters.values()) or 1
    return [
        ParameterShare(
            str(LABELS.get(name, name.replace("_", " "))),
            figure_format.count(n),
            figure_format.percent(n / whole),
            round(100 * n / whole),
        )
        for name, n in parameters.items()
    ]


def written(name: str, value: Any) -> str:
    """A value as a person reads it: "yes", "538.1 MB (538,095,616 B)", "30", "llama, gguf"."""
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    if isinstance(value, int) and any(word in name for word in SIZES):
        return f"{figure_format.size(value)} ({figure_format.count(value)} B)"
    if isinstance(value, int):
        return figure_format.count(value)
    if isinstance(value, float):
        return figure_format.fixed(value, 4)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


LABELS = {
    "architecture": _("architecture"),
    "layers": _("layers"),
    "parameters": _("parameters"),
    "tied_head": _("head shares the embedding's weights"),
    "hidden_size": _("hidden size"),
    "feed_forward_size": _("feed-forward size"),
    "query_heads": _("query heads"),
    "key_value_heads": _("key and value heads"),
    "head_size": _("head size"),
    "experts": _("experts"),
    "experts_per_token": _("experts per token"),
    "sliding_window": _("sliding window, tokens"),
    "vocabulary": _("vocabulary"),
    "context": _("context, tokens"),
    "dtype": _("dtype in the file"),
    "bytes": _("weight files"),
    "kv_bytes_per_token": _("keys and values, per token"),
    "format": _("format"),
    "revision": _("revision"),
    "quantised_before_as": _("was quantised before as"),
    "fidelity": _("against FP32"),
    "embedding": _("embedding"),
    "attention": _("attention"),
    "feed_forward": _("feed-forward"),
    "norms": _("norms"),
    "head": _("head"),
    "other": _("other"),
}
