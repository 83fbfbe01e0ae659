"""How long the cached part of a prompt would have taken, by what recent prompts have taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatsite.generation.models import Generation

LOOKED_AT = 200
FEWEST = 8
LEAST_APART = 16
"""Tokens by which two prompts must differ for their times to be compared."""


def saved_by_cache(generation: Generation) -> dict[str, Any]:
    """`saved_us` that the prefix cache spared this request, from `requests` like it; None: unknown.

    The slope of prefill time over computed tokens, as the median over all pairs (Sen, 1968): a few
    prompts that had to share their steps don't move it.
    """
    cached = generation.cached_tokens or 0
    if not cached:
        return {"saved_us": 0, "requests": 0}
    rows = Generation.objects.filter(
        model_slug=generation.model_slug,
        device=generation.device,
        dtype=generation.dtype,
        attempts_used=1,
        continued_tokens=0,
        prefill_us__isnull=False,
        prompt_tokens__isnull=False,
        cached_tokens__isnull=False,
    ).order_by("-received_at")
    seen = rows.values_list("prompt_tokens", "cached_tokens", "prefill_us")[:LOOKED_AT]
    table = np.array(list(seen), dtype=np.float64).reshape(-1, 3)
    computed, prefill_us = table[:, 0] - table[:, 1], table[:, 2]
    apart = computed[:, None] - computed[None, :]
    is_apart = apart >= LEAST_APART
    if len(table) < FEWEST or not is_apart.any():
        return {"saved_us": None, "requests": len(table)}
    slopes = (prefill_us[:, None] - prefill_us[None, :])[is_apart] / apart[is_apart]
    slope = float(np.median(slopes))
    return {"saved_us": slope * cached if slope > 0 else None, "requests": len(table)}
