"""Chooses the next token of every row of a step at once, each by its request's own parameters.

Order: logit bias and bans, repetition, presence and frequency penalties, temperature, top-k,
top-p, min-p, then one draw by inverse transform from the number that (seed, position) gives.
Doesn't know schedules or text; a row whose logits aren't finite is reported, not sampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.contract import TokenLogprobs
from inference.engine.request import ActiveRequest

WINDOWS = (64, 1024)
"""How many candidates to look at first. Nearly all draws fall among 64; few rows need a sort."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a step's rows chose. `token_ids[i]` is -1 where `is_finite[i]` is False."""

    token_ids: list[int]
    is_finite: list[bool]
    logprobs: list[TokenLogprobs | None]


class Sampler:
    """Samples one token per row. `eos_token_ids` are banned while min_tokens isn't reached."""

    def __init__(self, *, vocab_size: int, eos_token_ids: Sequence[int], device: torch.device):
        self.vocab_size = vocab_size
        self.eos_token_ids = [token for token in eos_token_ids if token < vocab_size]
        self.device = device

    def sample(self, logits: Tensor, requests: Sequence[ActiveRequest]) -> Sampled:
        """logits (R, V) float32, row i belongs to requests[i]. `logits` is changed in place.

        Raises nothing for bad logits: NaN or +inf anywhere in a row, or a row of -inf, makes that
        row not finite and touches no other.
        """
        raw_rows = [i for i, r in enumerate(requests) if r.request.sampling.logprobs is not None]
        raw = logits[raw_rows].clone() if raw_rows else None
        self._adjust(logits, requests)

        best, chosen = logits.max(dim=-1)
        # A NaN wins every max, so the maximum tells of the whole row.
        finite = best.isfinite()
        log_sampled: Tensor | None = None
        draws = [i for i, r in enumerate(requests) if r.request.sampling.temperature > 0]
        if draws:
            whole = len(draws) == len(requests)
            rows = logits if whole else logits[draws]
            drawn, log_drawn = self._draw(rows, [requests[i] for i in draws])
            if whole:
                chosen, log_sampled = drawn, log_drawn
            else:
                at = torch.tensor(draws, device=self.device)
                chosen = chosen.index_copy(0, at, drawn)
                log_sampled = torch.zeros(len(requests), device=self.device)
                log_sampled = log_sampled.index_copy(0, at, log_drawn)
        # One transfer for the tokens and the check: the only wait for the device in a step.
        ids = torch.where(finite, chosen, -1).tolist()
        found: list[TokenLogprobs | None] = [None] * len(requests)
        if raw is not None:
            alike = log_sampled.tolist() if log_sampled is not None else [0.0] * len(requests)
            self._logprobs(raw, raw_rows, ids, alike, requests, found)
        return Sampled(ids, [token >= 0 for token in ids], found)

    # --- before the draw ------------------------------------------------------------------------

    def _adjust(self, logits: Tensor, requests: Sequence[ActiveRequest]) -> None:
        """Bias, bans and penalties, only where asked for, with one gather and scatter for all."""
        at: list[int] = []
        add: list[float] = []
        for row, request in enumerate(requests):
            sampling = request.request.sampling
            base = row * self.vocab_size
            for token, bias in sampling.logit_bias:
                if token < self.vocab_size:
                    at.append(base + token)
                    add.append(bias)
            # A grammar may allow nothing but the end.
            early = request.num_answer < sampling.min_tokens and request.grammar is None
            if early and not sampling.ignore_eos:
                at += [base + token for token in self.eos_token_ids]
                add += [-math.inf] * len(self.eos_token_ids)
        flat = logits.view(-1)
        if at:
            flat.index_add_(
                0, torch.tensor(at, device=self.device), torch.tensor(add, device=self.device)
            )
        self._penalise(flat, requests)
        for row, request in enumerate(requests):
            if request.grammar is not None:
                logits[row].masked_fill_(request.grammar.forbidden().to(self.device), -math.inf)

    def _penalise(self, flat: Tensor, requests: Sequence[ActiveRequest]) -> None:
        at: list[int] = []
        factor: list[float] = []
        minus: list[float] = []
        for row, request in enumerate(requests):
            if not _has_penalty(request):
                continue
            sampling = request.request.sampling
            base = row * self.vocab_size
            counts = request.answer_counts
            for token, count in counts.items():
                at.append(base + token)
                factor.append(sampling.repetition_penalty)
                minus.append(sampling.presence_penalty + count * sampling.frequency_penalty)
            if sampling.repetition_penalty != 1:
                only_prompt = [t for t in set(request.request.prompt_token_ids) if t not in counts]
                at += [base + token for token in only_prompt]
                factor += [sampling.repetition_penalty] * len(only_prompt)
                minus += [0.0] * len(only_prompt)
        if not at:
            return
        index = torch.tensor(at, device=self.device)
        scale = torch.tensor(factor, device=self.device)
        values = flat[index]
        values = torch.where(values > 0, values / scale, values * scale)
        flat[index] = values - torch.tensor(minus, device=self.device)

    # --- the draw -------------------------------------------------------------------------------

    def _draw(self, logits: Tensor, requests: Sequence[ActiveRequest]) -> tuple[Tensor, Tensor]:
        """Draw one token per row, likeliest first along the cumulated mass.

        logits (R, V) → tokens (R,) int64 and their log-probabilities (R,) under what was drawn from.
        Top-p: Holtzman et al., 2019. Min-p: Nguyen et al., 2024.
        """
        settings = torch.tensor(
            [
                [
                    max(r.request.sampling.temperature, 1e-5),
                    r.request.sampling.top_k or self.vocab_size,
                    r.request.sampling.top_p,
                    r.request.sampling.min_p,
                    r.uniform(),
                ]
                for r in requests
            ],
            dtype=torch.float64,
        )
        settings = settings.to(self.device, non_blocking=True)
        scaled = logits / settings[:, :1].float()
        total = _logsumexp(scaled)
        # Which window settles a row depends on the row alone, so the batch can't change its draw.
        # On a GPU a sort is cheap, and asking whether it was needed isn't.
        sizes = WINDOWS if self.device.type == "cpu" else ()
        tokens = torch.empty(len(requests), dtype=torch.int64, device=self.device)
        logp = torch.empty(len(requests), device=self.device)
        rows = torch.arange(len(requests), device=self.device)
        for size in (*(size for size in sizes if size < self.vocab_size), self.vocab_size):
            part = scaled if len(rows) == len(requests) else scaled[rows]
            top, ids = part.topk(size) if size < self.vocab_size else part.sort(descending=True)
            index, picked, settled = _pick(top, total[rows], settings[rows], self.vocab_size)
            tokens[rows] = ids.gather(1, index[:, None])[:, 0]
            logp[rows] = picked
            if size == self.vocab_size or bool(settled.all()):
                break
            rows = rows[~settled]
        return tokens, logp

    # --- after the draw -------------------------------------------------------------------------

    def _logprobs(
        self,
        raw: Tensor,
        rows: list[int],
        ids: list[int],
        sampled: list[float],
        requests: Sequence[ActiveRequest],
        found: list[TokenLogprobs | None],
    ) -> None:
        wanted = [requests[i].request.sampling.logprobs or 0 for i in rows]
        tokens = [max(ids[i], 0) for i in rows]
        for i, entry in zip(rows, logprobs_of(raw, tokens, wanted), strict=True):
            found[i] = TokenLogprobs(entry.chosen, sampled[i], entry.top)


def logprobs_of(
    logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
) -> list[TokenLogprobs]:
    """Log-probabilities of one token per row and of the row's `top[i]` likeliest.

    logits (R, V) float32, raw. `sampled` equals `chosen`: nothing was drawn.
    """
    logp = logits.log_softmax(dim=-1)
    index = torch.tensor(token_ids, device=logits.device)[:, None]
    chosen = logp.gather(1, index)[:, 0].tolist()
    width = min(max(top), logits.shape[-1])
    best, ids = logp.topk(width, dim=-1)
    return [
        TokenLogprobs(value, value, tuple(zip(row_ids[:n], row_best[:n], strict=True)))
        for value, row_ids, row_best, n in zip(
            chosen, ids.tolist(), best.tolist(), top, strict=True
        )
    ]


def _logsumexp(rows: Tensor) -> Tensor:
    """rows (R, V) → (R, 1), each as it would be in any other batch.

    torch cuts a reduction to a single number into one part per thread, so one row goes as two.
    """
    if rows.shape[0] == 1:
        return rows.expand(2, -1).logsumexp(dim=-1, keepdim=True)[:1]
    return rows.logsumexp(dim=-1, keepdim=True)


def _pick(
    top: Tensor, total: Tensor, settings: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pick from the likeliest candidates of each row.

    top (R, K) float32 logits in falling order, total (R, 1) logsumexp of the whole row, settings
    (R, 5) float64 → index into the candidates (R,), log-probability (R,), and whether the K
    candidates were enough to be sure (R,). Mass is summed in float64: a vocabulary of small terms
    must not drift.
    """
    _, top_k, top_p, min_p, uniform = settings.unbind(dim=1)
    size = top.shape[1]
    mass = (top.double() - total.double()).exp()
    is_cut_by_k = top_k < vocab_size
    knows_k = ~is_cut_by_k | (top_k <= size)
    in_k = torch.arange(size, device=top.device) < top_k[:, None]
    mass = torch.where(in_k, mass, 0.0)
    below = mass.cumsum(dim=-1)
    # Top-p counts mass among what top-k kept.
    mass_k = torch.where(is_cut_by_k, below[:, -1], 1.0)
    kept = in_k & (below - mass < (top_p * mass_k)[:, None])
    kept &= mass >= min_p[:, None] * mass[:, :1]
    kept[:, 0] = True
    below = torch.where(kept, mass, 0.0).cumsum(dim=-1)
    # With the last candidate out, all behind it are out too, and the kept mass is known.
    is_cut = is_cut_by_k | ~kept[:, -1]
    kept_mass = torch.where(is_cut, below[:, -1], 1.0)
    target = uniform * kept_mass
    is_free = (top_p >= 1) & (min_p <= 0)
    settled = knows_k & (is_cut | (is_free & (target < below[:, -1])))
    # Rounding may leave the target at the very end: the last kept candidate takes it.
    index = torch.minimum((below <= target[:, None]).sum(dim=-1), kept.sum(dim=-1) - 1)
    logp = (mass.gather(1, index[:, None])[:, 0] / kept_mass).log()
    return index, logp.float(), settled


def _has_penalty(request: ActiveRequest) -> bool:
    sampling = request.request.sampling
    return (
        sampling.repetition_penalty != 1
        or sampling.presence_penalty != 0
        or sampling.frequency_penalty != 0
    )
