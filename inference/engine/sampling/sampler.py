"""Chooses the next token of every row of a step at once, each by its request's own parameters.

Order: logit bias and bans, repetition, presence and frequency penalties, grammar, temperature,
top-k, top-p, min-p, then one draw by inverse transform from the number that (seed, position) gives.
Here is what happens to the logits; draws.py draws. Doesn't know schedules or text; a row whose
logits aren't finite is reported, not sampled.
"""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.contract import ErrorCode, TokenLogprobs
from inference.engine.active_request import ActiveRequest
from inference.engine.sampling.torch_sampler import NOT_FINITE, Draws, Rule, TorchDraws
from inference.engine.tensors import move, to_device

NOTHING_LEFT = -2
"""Stands for the token of a row whose request has ruled every token out."""
WHY_NONE = {
    NOT_FINITE: (ErrorCode.BAD_LOGITS, "The model's output was not a number."),
    NOTHING_LEFT: (
        ErrorCode.NO_TOKEN_ALLOWED,
        "The request's rules leave no token that may come next.",
    ),
}

Change = tuple[Tensor | slice, Tensor]
"""Places in the flattened logits, and what stood there."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a step's rows chose; below 0 is why a row has none (WHY_NONE)."""

    token_ids: list[int]
    is_finite: list[bool]
    logprobs: list[TokenLogprobs | None]


class Sampler:
    """Samples one token per row. `eos_token_ids` are banned while min_tokens isn't reached."""

    def __init__(
        self,
        *,
        vocab_size: int,
        eos_token_ids: Sequence[int],
        device: torch.device,
        draws: Draws | None = None,
    ) -> None:
        self._draws = draws or TorchDraws(device)
        self.vocab_size = vocab_size
        self.eos_token_ids = [token for token in eos_token_ids if token < vocab_size]
        self.device = device

    def sample(self, logits: Tensor, requests: Sequence[ActiveRequest]) -> Sampled:
        """logits (R, V) float32, row i belongs to requests[i]. `logits` is changed in place.

        Raises nothing for bad logits: NaN or +inf anywhere in a row, or a row of -inf, makes that
        row not finite and touches no other.
        """
        told = [i for i, r in enumerate(requests) if r.request.sampling.logprobs is not None]
        changed = self._adjust(logits, requests)
        tokens, logp = self._draws.draw(
            logits, [_rule(request) for request in requests], wants_logp=bool(told)
        )
        is_finite = [token >= 0 for token in tokens]
        for i, active in enumerate(requests):
            if tokens[i] < 0 and active.is_restricted and bool((logits[i] == -math.inf).all()):
                tokens[i] = NOTHING_LEFT
        found: list[TokenLogprobs | None] = [None] * len(requests)
        if told:
            for at, before in reversed(changed):  # what is told are the raw ones
                logits.view(-1)[at] = before
            rows = logits if len(told) == len(requests) else logits[self._tensor(told)]
            top = [requests[i].request.sampling.logprobs or 0 for i in told]
            entries = self._draws.logprobs(rows, [max(tokens[i], 0) for i in told], top)
            for i, entry in zip(told, entries, strict=True):
                found[i] = dataclasses.replace(entry, sampled=logp[i])
        return Sampled(tokens, is_finite, found)

    def logprobs(
        self, logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
    ) -> list[TokenLogprobs]:
        """Log-probabilities of given tokens, one per row of raw logits; see Draws."""
        return self._draws.logprobs(logits, token_ids, top)

    def _tensor(self, values: Sequence[Any], dtype: torch.dtype = torch.int64) -> Tensor:
        return to_device(values, dtype, self.device)

    def _banned(self, request: ActiveRequest) -> set[int]:
        """What may not come next: the end before min_tokens, and what completes a bad word.

        A grammar may allow nothing but the end, so with one it may come early.
        """
        sampling = request.request.sampling
        banned: set[int] = set()
        if request.num_answer < sampling.min_tokens and request.grammar is None:
            banned |= set(sampling.stop_token_ids)
            if not sampling.ignore_eos:
                banned |= set(self.eos_token_ids)
        if request.restrictions is not None:
            banned |= request.restrictions.banned(request.token_ids, request.num_answer)
        return banned

    def _adjust(self, logits: Tensor, requests: Sequence[ActiveRequest]) -> list[Change]:
        """Bias, bans and penalties, only where asked for, with one gather and scatter for all.

        Returns what was changed, in order.
        """
        at: list[int] = []
        add: list[float] = []
        for row, request in enumerate(requests):
            base = row * self.vocab_size
            for token, bias in request.request.sampling.logit_bias:
                if token < self.vocab_size:
                    at.append(base + token)
                    add.append(bias)
            banned = [token for token in self._banned(request) if token < self.vocab_size]
            at += [base + token for token in banned]
            add += [-math.inf] * len(banned)
        flat = logits.view(-1)
        changed: list[Change] = []
        if at:
            where = self._tensor(at)
            changed.append((where, flat[where]))
            flat.index_add_(0, where, self._tensor(add, torch.float32))
        changed += self._penalise(flat, requests)
        for row, request in enumerate(requests):
            allowed = request.restrictions and request.restrictions.allowed
            if request.grammar is None and not allowed:
                continue
            if request.request.sampling.logprobs is not None:
                whole = slice(row * self.vocab_size, (row + 1) * self.vocab_size)
                changed.append((whole, flat[whole].clone()))
            if request.grammar is not None:
                logits[row].masked_fill_(request.grammar.forbidden().to(self.device), -math.inf)
            if allowed:
                self._keep_only(logits[row], allowed)
        return changed

    def _keep_only(self, row: Tensor, allowed: array[int]) -> None:
        """Rule out all of a row, (V,), but these ids. A row that isn't finite stays so."""
        ids = torch.frombuffer(allowed, dtype=torch.int64)
        at = move(ids[ids < self.vocab_size], self.device)
        kept = row[at]
        row.masked_fill_(~row.isnan(), -math.inf)
        row[at] = kept

    def _penalise(self, flat: Tensor, requests: Sequence[ActiveRequest]) -> list[Change]:
        """Repetition: Keskar et al., 2019; presence and frequency as in OpenAI's API."""
        tokens, counts, owners = array("q"), array("f"), array("q")
        rows: list[int] = []
        rules: list[tuple[float, float, float]] = []
        for row, request in enumerate(requests):
            if request.counts is not None and request.counts.tokens:
                tokens += request.counts.tokens
                counts += request.counts.counts
                owners += array("q", [len(rows)]) * len(request.counts.tokens)
                s = request.request.sampling
                rules.append((s.repetition_penalty, s.presence_penalty, s.frequency_penalty))
                rows.append(row)
        if not rows:
            return []
        owner = torch.frombuffer(owners, dtype=torch.int64)
        base = torch.tensor(rows)[owner] * self.vocab_size
        scale, presence, frequency = torch.tensor(rules).T[:, owner]
        count = torch.frombuffer(counts, dtype=torch.float32)
        minus = move(presence * (count > 0) + frequency * count, self.device)
        at = move(torch.frombuffer(tokens, dtype=torch.int64) + base, self.device)
        scale = move(scale, self.device)
        before = flat[at]
        flat[at] = torch.where(before > 0, before / scale, before * scale) - minus
        return [(at, before)]


def _rule(request: ActiveRequest) -> Rule:
    sampling = request.request.sampling
    if sampling.temperature <= 0:
        return Rule(0.0)
    return Rule(
        sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, request.uniform()
    )
