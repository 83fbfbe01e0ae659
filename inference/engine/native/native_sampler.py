"""Draws by the native kernel, which looks at a row's likeliest; torch does the few others."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from inference.contract import TokenLogprobs
from inference.engine.sampling.torch_sampler import Rule, TorchDraws, told


class NativeDraws:
    """One call per step, whatever the rows' rules; see Draws."""

    def __init__(self, kernels: ModuleType) -> None:
        self._kernels = kernels
        self._torch = TorchDraws(torch.device("cpu"))

    def draw(
        self, logits: Tensor, rules: Sequence[Rule], *, wants_logp: bool
    ) -> tuple[list[int], list[float]]:
        """See Draws. Whether a row is left to torch depends on the row alone."""
        tokens: list[int]
        logp: list[float]
        tokens, logp = self._kernels.draw(logits, rules)
        left = [i for i, token in enumerate(tokens) if token == self._kernels.UNSETTLED]
        if left:
            slowly = self._torch.draw(logits[left], [rules[i] for i in left], wants_logp=wants_logp)
            for i, token, log_drawn in zip(left, *slowly, strict=True):
                tokens[i], logp[i] = token, log_drawn
        return tokens, logp

    def logprobs(
        self, logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
    ) -> list[TokenLogprobs]:
        """See Draws."""
        count = min(max(top), logits.shape[1])
        chosen, best, ids = self._kernels.logprobs(logits.contiguous(), token_ids, count)
        return told(chosen.tolist(), ids.tolist(), best.tolist(), top)
