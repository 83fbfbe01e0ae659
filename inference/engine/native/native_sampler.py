"""Samples with the native kernel, which looks at a row's likeliest tokens only.

The few rows that need more candidates than it keeps are sampled by torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from inference.contract import TokenLogprobs
from inference.engine.sampling.sampling_backend import (
    Cut,
    Described,
    Drawn,
    SamplingRow,
    logprob_entries,
)
from inference.engine.sampling.torch_sampler import TorchSampler


class NativeSampler:
    """A SamplingBackend with one kernel call per step, whatever its rows ask for."""

    def __init__(self, kernels: ModuleType) -> None:
        self._kernels = kernels
        self._torch = TorchSampler(torch.device("cpu"))

    def sample(
        self,
        logits: Tensor,
        rows: Sequence[SamplingRow],
        *,
        wants_logp: bool,
        wants_cuts: bool = False,
    ) -> Drawn:
        """See SamplingBackend. Whether a row is left to torch depends on the row alone."""
        tokens, logp, details = self._kernels.draw(logits, rows, wants_cuts)
        cuts = [Cut(int(kept), *rest) for kept, *rest in details]
        left = [i for i, token in enumerate(tokens) if token == self._kernels.UNSETTLED]
        if left:
            slowly = self._torch.sample(
                logits[left],
                [rows[i] for i in left],
                wants_logp=wants_logp or wants_cuts,
                wants_cuts=wants_cuts,
            )
            for place, i in enumerate(left):
                tokens[i], logp[i] = slowly.tokens[place], slowly.logp[place]
                if wants_cuts:
                    cuts[i] = slowly.cuts[place]
        return Drawn(tokens, logp, cuts)

    def describe(self, logits: Tensor, count: int) -> Described:
        """See SamplingBackend."""
        best, below_best, ids = self._kernels.describe(logits, min(count, logits.shape[1]))
        return Described(best.numpy(), below_best.numpy(), ids.numpy())

    def logprobs(
        self, logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
    ) -> list[TokenLogprobs]:
        """See SamplingBackend."""
        count = min(max(top), logits.shape[1])
        chosen, best, ids = self._kernels.logprobs(logits.contiguous(), token_ids, count)
        return logprob_entries(chosen.tolist(), ids.tolist(), best.tolist(), top)
