"""The interface behind which tokens are drawn from logits: `SamplingBackend`.

Rows and their rules, no requests: sampler.py turns requests into rows. torch_sampler.py is the
reference; the native kernels have one of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
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


class Cut(NamedTuple):
    """What the samplers left of a row. Masses are shares of all tokens' mass at the temperature."""

    kept: int = 1  # tokens that may have been drawn
    below: float = 0.0  # share of the kept mass before the drawn token, likeliest first
    kept_mass: float = 1.0
    mass_k: float = 1.0  # of those that top-k left; 1 without
    floor: float = 0.0  # how far the last kept logit lies under the largest; inf: none is cut
    best_mass: float = 1.0  # the likeliest token's
    best: float = 0.0  # the largest logit
    log_total: float = 0.0  # log of the sum of e^logit, at temperature 1


class Drawn(NamedTuple):
    """The tokens of some rows, their log-probabilities, and the cuts if they were asked for."""

    tokens: list[int]
    logp: list[float]
    cuts: list[Cut]


class Described(NamedTuple):
    """Rows of raw logits, before any sampler; see TOKEN_RECORD. NaN where a row isn't finite."""

    best: np.ndarray  # (R, 3) float32: the largest logit, its log-probability, the entropy
    below_best: np.ndarray  # (R, n) float32: how far the n likeliest lie under the largest
    ids: np.ndarray  # (R, n)


class SamplingBackend(Protocol):
    """Chooses tokens. A row's result doesn't depend on the other rows."""

    def sample(
        self,
        logits: Tensor,
        rows: Sequence[SamplingRow],
        *,
        wants_logp: bool,
        wants_cuts: bool = False,
    ) -> Drawn:
        """logits (R, V) float32 → R tokens, and their log-probabilities under what was drawn from.

        A row with NaN or +inf, or of nothing but -inf, gets NOT_FINITE. Where the likeliest token
        was to be taken the log-probability is 0; without `wants_logp` all of them are.
        """

    def describe(self, logits: Tensor, count: int) -> Described:
        """Raw logits (R, V) float32 and their `count` likeliest, likeliest first."""

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
