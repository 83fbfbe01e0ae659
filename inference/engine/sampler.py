"""Chooses the next token of every row of a step at once, each by its request's own parameters.

Order: logit bias and bans, repetition, presence and frequency penalties, temperature, top-k,
top-p, min-p, then one draw by inverse transform from the number that (seed, position) gives.
Doesn't know schedules or text; a row whose logits aren't finite is reported, not sampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.contract import TokenLogprobs
from inference.engine.backend import Likeliest
from inference.engine.request import ActiveRequest
from inference.engine.tensors import to_device

WINDOW = 64
"""How many candidates of a row to look at first; most draws fall among them."""
NEGLIGIBLE = 1e-4
"""Share of the likeliest token's mass from which candidates are looked at next, before all are."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a step's rows chose. `token_ids[i]` is -1 where `is_finite[i]` is False."""

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
        likeliest: Likeliest | None = None,
    ) -> None:
        self._likeliest = likeliest or _likeliest
        self.vocab_size = vocab_size
        self.eos_token_ids = [token for token in eos_token_ids if token < vocab_size]
        self.device = device

    def _tensor(self, values: Sequence[Any], dtype: torch.dtype = torch.int64) -> Tensor:
        return to_device(values, dtype, self.device)

    def sample(self, logits: Tensor, requests: Sequence[ActiveRequest]) -> Sampled:
        """logits (R, V) float32, row i belongs to requests[i]. `logits` is changed in place.

        Raises nothing for bad logits: NaN or +inf anywhere in a row, or a row of -inf, makes that
        row not finite and touches no other.
        """
        raw_rows = [i for i, r in enumerate(requests) if r.request.sampling.logprobs is not None]
        raw = logits[self._tensor(raw_rows)] if raw_rows else None  # a copy
        self._adjust(logits, requests)

        draws = [i for i, r in enumerate(requests) if r.request.sampling.temperature > 0]
        log_sampled: Tensor | None = None
        if len(draws) == len(requests):
            chosen, log_sampled, best = self._draw(logits, requests)
        else:
            best, chosen = logits.max(dim=-1)
            if draws:
                at = self._tensor(draws)
                drawn, log_drawn, _ = self._draw(logits[at], [requests[i] for i in draws])
                chosen = chosen.index_copy(0, at, drawn)
                log_sampled = torch.zeros(len(requests), device=self.device)
                log_sampled = log_sampled.index_copy(0, at, log_drawn)
        # A NaN wins every maximum, so the largest value tells of the whole row.
        finite = best.isfinite()
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
            flat.index_add_(0, self._tensor(at), self._tensor(add, torch.float32))
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
        index, scale = self._tensor(at), self._tensor(factor, torch.float32)
        values = flat[index]
        values = torch.where(values > 0, values / scale, values * scale)
        flat[index] = values - self._tensor(minus, torch.float32)

    # --- the draw -------------------------------------------------------------------------------

    def _draw(
        self, logits: Tensor, requests: Sequence[ActiveRequest]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one token per row, likeliest first along the cumulated mass.

        logits (R, V) → tokens (R,) int64, their log-probabilities (R,) under what was drawn from,
        and the mass of the likeliest (R,), not finite where the row isn't.
        Top-p: Holtzman et al., 2019. Min-p: Nguyen et al., 2024.
        """
        settings = self._settings(requests)
        # On a GPU a sort is cheap, and asking whether fewer would do is not.
        size = min(WINDOW, self.vocab_size) if self.device.type == "cpu" else self.vocab_size
        top, ids = self._likeliest(logits, settings[:, 0].float(), size)
        counts = torch.full((len(requests),), size, device=self.device)
        index, logp, settled = _pick(top, counts, settings, self.vocab_size)
        tokens = ids.gather(1, index[:, None])[:, 0]
        best = top[:, 0]
        # Which candidates settle a row depends on the row alone: the batch can't change its draw.
        for narrow in (self._above_negligible, _everything):
            if size == self.vocab_size or bool(settled.all()):
                break
            rows = (~settled).nonzero()[:, 0]
            top, ids, counts = narrow(_masses(logits[rows], settings[rows, 0].float()))
            index, picked, enough = _pick(top, counts, settings[rows], self.vocab_size)
            tokens[rows] = ids.gather(1, index[:, None])[:, 0]
            logp[rows] = picked
            settled[rows] = enough
        return tokens, logp, best

    def _settings(self, requests: Sequence[ActiveRequest]) -> Tensor:
        """(R, 5) float64: temperature, top-k, top-p, min-p, and the number that decides."""
        rows = []
        for request in requests:
            sampling = request.request.sampling
            rows.append(
                (
                    max(sampling.temperature, 1e-5),
                    sampling.top_k or self.vocab_size,
                    sampling.top_p,
                    sampling.min_p,
                    request.uniform(),
                )
            )
        return self._tensor(rows, torch.float64)

    @staticmethod
    def _above_negligible(mass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Candidates with a mass that isn't negligible, sorted, padded with nothing.

        A flat row has some thousands of them, and sorting those costs a tenth of sorting all.
        """
        wanted = mass > NEGLIGIBLE * mass.amax(dim=-1, keepdim=True)
        counts = wanted.sum(dim=-1)
        rows, columns = wanted.nonzero(as_tuple=True)
        place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
        shape = (len(mass), max(1, int(counts.max())))
        top, ids = torch.zeros(shape), torch.zeros(shape, dtype=torch.int64)
        top[rows, place], ids[rows, place] = mass[rows, columns], columns
        top, order = _sorted(top)
        return top, ids.gather(1, order), counts.clamp(min=1)

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
    index = to_device(token_ids, torch.int64, logits.device)[:, None]
    chosen = logp.gather(1, index)[:, 0].tolist()
    width = min(max(top), logits.shape[-1])
    best, ids = logp.topk(width, dim=-1)
    return [
        TokenLogprobs(value, value, tuple(zip(row_ids[:n], row_best[:n], strict=True)))
        for value, row_ids, row_best, n in zip(
            chosen, ids.tolist(), best.tolist(), top, strict=True
        )
    ]


def _masses(logits: Tensor, temperatures: Tensor) -> Tensor:
    return (logits / temperatures[:, None]).softmax(dim=-1)


def _likeliest(logits: Tensor, temperatures: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """torch's way to a row's best tokens; see backend.Likeliest."""
    mass = _masses(logits, temperatures)
    if count == logits.shape[1]:
        return _sorted(mass)
    top, ids = mass.topk(count)
    return top, ids


def _sorted(mass: Tensor) -> tuple[Tensor, Tensor]:
    values, order = mass.sort(dim=-1, descending=True, stable=True)
    return values, order


def _everything(mass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    top, ids = _sorted(mass)
    return top, ids, torch.full((len(mass),), mass.shape[1], device=mass.device)


def _pick(
    top: Tensor, counts: Tensor, settings: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pick from the likeliest candidates of each row.

    top (R, K) their mass in falling order, counts (R,) how many of K are candidates, settings
    (R, 5) → index into the candidates (R,), log-probability (R,), and whether the candidates were
    enough to be sure (R,). Sums are float64: a vocabulary of small terms must not drift.
    """
    _, top_k, top_p, min_p, uniform = settings.unbind(dim=1)
    mass = top.double()
    is_cut_by_k = top_k < vocab_size
    knows_k = ~is_cut_by_k | (top_k <= counts)
    in_k = torch.arange(top.shape[1], device=top.device) < top_k[:, None]
    mass = torch.where(in_k, mass, 0.0)
    below = mass.cumsum(dim=-1)
    # Top-p counts mass among what top-k kept.
    mass_k = torch.where(is_cut_by_k, below[:, -1], 1.0)
    kept = in_k & (below - mass < (top_p * mass_k)[:, None])
    kept &= mass >= min_p[:, None] * mass[:, :1]
    kept[:, 0] = True
    below = torch.where(kept, mass, 0.0).cumsum(dim=-1)
    # With the last candidate out, all behind it are out too, and the kept mass is known.
    is_cut = is_cut_by_k | ~kept.gather(1, counts[:, None] - 1)[:, 0]
    kept_mass = torch.where(is_cut, below[:, -1], 1.0)
    target = uniform * kept_mass
    is_free = (top_p >= 1) & (min_p <= 0)
    settled = knows_k & (is_cut | (is_free & (target < below[:, -1])))
    # Rounding may leave the target at the very end: the last kept candidate takes it.
    last = torch.minimum(kept.sum(dim=-1), counts) - 1
    index = torch.minimum((below <= target[:, None]).sum(dim=-1), last)
    logp = (mass.gather(1, index[:, None])[:, 0] / kept_mass).log()
    return index, logp.float(), settled


def _has_penalty(request: ActiveRequest) -> bool:
    sampling = request.request.sampling
    return (
        sampling.repetition_penalty != 1
        or sampling.presence_penalty != 0
        or sampling.frequency_penalty != 0
    )
