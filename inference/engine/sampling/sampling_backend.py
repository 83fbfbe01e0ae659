"""The interface behind which tokens are drawn from logits: `SamplingBackend`.

Rows and their rules, no requests: sampler.py turns requests into rows. torch_sampler.py is the
reference; the native kernels have one of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from inference.contract import TokenLogprobs

NOT_FINITE = -1
"""Stands for the token of a row that can't be sampled: NaN or +inf in it, or nothing but -inf."""


class SamplingRow(NamedTuple):
    """How one row's token is chosen. At temperature 0 the likeliest is, and the rest unused."""

    temperature: float
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    min_p: float = 0.0
    uniform: float = 0.0  # the number in [0, 1) that decides


class SamplingBackend(Protocol):
    """Chooses tokens. A row's result doesn't depend on the other rows."""

    def sample(
        self, logits: Tensor, rows: Sequence[SamplingRow], *, wants_logp: bool
    ) -> tuple[list[int], list[float]]:
        """logits (R, V) float32 → R tokens, and their log-probabilities under what was drawn from.

        A row with NaN or +inf, or of nothing but -inf, gets NOT_FINITE. Where the likeliest token
        was to be taken the log-probability is 0; without `wants_logp` all of them are.
        """

    def logprobs(
        self, logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
    ) -> list[TokenLogprobs]:
        """Log-probabilities of one token per row and of the row's `top[i]` likeliest.

        logits (R, V) float32, raw. `sampled` equals `chosen`: nothing was drawn.
        """


def logprob_entries(
    chosen: Sequence[float],
    ids: Sequence[Sequence[int]],
    best: Sequence[Sequence[float]],
    top: Sequence[int],
) -> list[TokenLogprobs]:
    """One entry per row from its token's log-probability and those of its likeliest `top[i]`."""
    return [
        TokenLogprobs(value, value, tuple(zip(row_ids[:n], row_best[:n], strict=True)))
        for value, row_ids, row_best, n in zip(chosen, ids, best, top, strict=True)
    ]
