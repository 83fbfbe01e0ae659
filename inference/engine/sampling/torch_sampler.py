"""Draws one token per row of adjusted logits, with its log-probability, by torch on any device.

The reference that the native sampler is tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inference.contract import TokenLogprobs
from inference.engine.device import to_device
from inference.engine.sampling.sampling_backend import (
    NOT_FINITE,
    Cut,
    Described,
    Drawn,
    SamplingRow,
    logprob_entries,
)

WINDOW = 64
"""How many candidates of a row to look at first; most draws fall among them."""
NEGLIGIBLE = 1e-4
"""Share of the likeliest token's mass from which candidates are looked at next, before all are."""


class TorchSampler:
    """A SamplingBackend for any device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def sample(
        self,
        logits: Tensor,
        rows: Sequence[SamplingRow],
        *,
        wants_logp: bool,
        wants_cuts: bool = False,
    ) -> Drawn:
        """See SamplingBackend. One transfer from the device, and one for each thing more wanted."""
        drawn = [i for i, row in enumerate(rows) if row.temperature > 0]
        logp: Tensor | None = None
        cuts: Tensor | None = None
        if len(drawn) == len(rows):
            chosen, logp, best, cuts = self._draw(logits, rows, wants_cuts=wants_cuts)
        else:
            best, chosen = logits.max(dim=-1)
            if drawn:
                at = to_device(drawn, torch.int64, self.device)
                some = [rows[i] for i in drawn]
                tokens, logp_drawn, _, cuts = self._draw(logits[at], some, wants_cuts=wants_cuts)
                chosen = chosen.index_copy(0, at, tokens)
                logp = torch.zeros(len(rows), device=self.device).index_copy(0, at, logp_drawn)
        # A NaN wins every maximum: the largest value shows whether the whole row is finite.
        found = torch.where(best.isfinite(), chosen, NOT_FINITE).tolist()
        return Drawn(
            found,
            [0.0] * len(rows) if logp is None or not wants_logp else logp.tolist(),
            _cuts(logits, cuts, drawn) if wants_cuts else [],
        )

    def describe(self, logits: Tensor, count: int) -> Described:
        """See SamplingBackend. One transfer from the device; ids below 2^24 are exact as floats."""
        top, ids = logits.topk(min(count, logits.shape[1]), dim=-1)
        logp = logits.log_softmax(dim=-1)
        entropy = -torch.where(logp.isinf(), 0.0, logp.exp() * logp).sum(dim=-1)
        best = torch.stack([top[:, 0], logp.amax(dim=-1), entropy], dim=1)
        best = torch.where(logp[:, :1].isnan(), torch.nan, best)
        table = torch.cat([best, top[:, :1] - top, ids.float()], dim=1).cpu().numpy()
        at = 3 + top.shape[1]
        return Described(table[:, :3], table[:, 3:at], table[:, at:].astype("<u4"))

    def logprobs(
        self, logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
    ) -> list[TokenLogprobs]:
        """See SamplingBackend."""
        logp = logits.log_softmax(dim=-1)
        index = to_device(token_ids, torch.int64, logits.device)[:, None]
        chosen = logp.gather(1, index)[:, 0].tolist()
        best, ids = logp.topk(min(max(top), logits.shape[-1]), dim=-1)
        return logprob_entries(chosen, ids.tolist(), best.tolist(), top)

    def _draw(
        self, logits: Tensor, rows: Sequence[SamplingRow], *, wants_cuts: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Draw one token per row, likeliest first along the cumulated mass.

        logits (R, V) → tokens (R,) int64, their log-probabilities (R,) under what was drawn from,
        the mass of the likeliest (R,), not finite where the row isn't, and what was cut (R, 6), the
        first fields of Cut, if wanted.
        Top-p: Holtzman et al., 2019. Min-p: Nguyen et al., 2024.
        """
        vocab_size = logits.shape[1]
        settings = to_device(rows, torch.float64, self.device)
        temperatures = settings[:, 0].float().clamp(min=1e-5)
        # On a GPU a sort is cheap, and asking whether fewer would do is not.
        size = min(WINDOW, vocab_size) if self.device.type == "cpu" else vocab_size
        top, ids = _likeliest(logits, temperatures, size)
        counts = torch.full((len(rows),), size, device=self.device)
        index, logp, settled, cuts = _pick(top, counts, settings, vocab_size, wants_cuts=wants_cuts)
        tokens = ids.gather(1, index[:, None])[:, 0]
        best = top[:, 0]
        # Which candidates settle a row depends on the row alone: the batch can't change its draw.
        for narrow in (_above_negligible, _everything):
            if size == vocab_size or bool(settled.all()):
                break
            open_rows = (~settled).nonzero()[:, 0]
            top, ids, counts = narrow(_masses(logits[open_rows], temperatures[open_rows]))
            picked = _pick(top, counts, settings[open_rows], vocab_size, wants_cuts=wants_cuts)
            tokens[open_rows] = ids.gather(1, picked.place[:, None])[:, 0]
            logp[open_rows] = picked.logp
            if cuts is not None and picked.cuts is not None:
                cuts[open_rows] = picked.cuts
            settled[open_rows] = picked.settled
        return tokens, logp, best, cuts


class _Picked(NamedTuple):
    place: Tensor  # (R,) among the candidates
    logp: Tensor  # (R,)
    settled: Tensor  # (R,) whether the candidates were enough to be sure
    cuts: Tensor | None  # (R, 6) the first fields of Cut, if wanted


def _cuts(logits: Tensor, cuts: Tensor | None, drawn: Sequence[int]) -> list[Cut]:
    """What was cut of each row; `cuts` are the first six fields of the rows that were `drawn`."""
    best, totals = torch.stack([logits.amax(dim=-1), logits.logsumexp(dim=-1)]).tolist()
    found = [Cut(best=b, log_total=t) for b, t in zip(best, totals, strict=True)]
    if cuts is not None:
        for i, (kept, *rest) in zip(drawn, cuts.tolist(), strict=True):
            found[i] = Cut(int(kept), *rest)._replace(best=best[i], log_total=totals[i])
    return found


def _masses(logits: Tensor, temperatures: Tensor) -> Tensor:
    return (logits / temperatures[:, None]).softmax(dim=-1)


def _likeliest(logits: Tensor, temperatures: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` likeliest tokens of each row: masses (R, count), falling, and ids."""
    mass = _masses(logits, temperatures)
    if count == logits.shape[1]:
        return _sorted(mass)
    top, ids = mass.topk(count)
    return top, ids


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


def _everything(mass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    top, ids = _sorted(mass)
    return top, ids, torch.full((len(mass),), mass.shape[1], device=mass.device)


def _sorted(mass: Tensor) -> tuple[Tensor, Tensor]:
    values, order = mass.sort(dim=-1, descending=True, stable=True)
    return values, order


def _pick(
    top: Tensor, counts: Tensor, settings: Tensor, vocab_size: int, *, wants_cuts: bool
) -> _Picked:
    """Pick from the likeliest candidates of each row.

    top (R, K) their mass in falling order, counts (R,) how many of K are candidates, settings
    (R, 5) the rows' settings. Sums are float64: a vocabulary of small terms must not drift.
    """
    temperature, top_k, top_p, min_p, uniform = settings.unbind(dim=1)
    mass = top.double()
    is_cut_by_k = (top_k > 0) & (top_k < vocab_size)
    top_k = torch.where(is_cut_by_k, top_k, vocab_size)
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
    chosen = mass.gather(1, index[:, None])[:, 0]
    through = below.gather(1, index[:, None])[:, 0]
    least = mass.gather(1, last[:, None])[:, 0]
    if not wants_cuts:
        return _Picked(index, (chosen / kept_mass).log().float(), settled, None)
    through = below.gather(1, index[:, None])[:, 0]
    least = mass.gather(1, last[:, None])[:, 0]
    floor = (mass[:, 0] / least).log() * temperature.clamp(min=1e-5)
    cuts = torch.stack(
        [
            torch.where(is_cut, last + 1, vocab_size).double(),
            (through - chosen) / kept_mass,
            kept_mass,
            mass_k,
            torch.where(is_cut, floor, torch.inf),
            mass[:, 0],
        ],
        dim=1,
    )
    return _Picked(index, (chosen / kept_mass).log().float(), settled, cuts)
