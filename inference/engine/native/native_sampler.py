"""Samples with the native kernel, which looks at a row's likeliest tokens only.

The few rows that need more candidates than it keeps are sampled by torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from inference.contract import TokenLogprobs
from inference.engine.sampling.sampling_backend import SamplingRow, logprob_entries
from inference.engine.sampling.torch_sampler import TorchSampler


class NativeSampler:
    """A SamplingBackend with one kernel call per step, whatever its rows ask for."""

    def __init__(self, kernels: ModuleType) -> None:
        self._kernels = kernels
        self._torch = TorchSampler(torch.device("cpu"))

    def sample(
        self, logits: Tensor, rows: Sequence[SamplingRow], *, wants_logp: bool
    ) -> tuple[list[int], list[float]]:
        """See SamplingBackend. Whether a row is left to torch depends on the row alone."""
        tokens: list[int]
        logp: list[float]
        tokens, logp = self._kernels.draw(logits, rows)
        left = [i for i, token in enumerate(tokens) if token == self._kernels.UNSETTLED]
        if left:
            slowly = self._torch.sample(
                logits[left], [rows[i] for i in left], wants_logp=wants_logp
            )
            for i, token, token_logp in zip(left, *slowly, strict=True):
                tokens[i], logp[i] = token, token_logp
        return tokens, logp

    def logprobs(
        self, logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
    ) -> list[TokenLogprobs]:
        """See SamplingBackend."""
        count = min(max(top), logits.shape[1])
        chosen, best, ids = self._kernels.logprobs(logits.contiguous(), token_ids, count)
        return logprob_entries(chosen.tolist(), ids.tolist(), best.tolist(), top)
