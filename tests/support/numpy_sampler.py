"""The samplers by their definition, in NumPy and float64: what all others are compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from inference.contract import SamplingParams


@dataclasses.dataclass(frozen=True)
class Columns:
    """Of every token of a vocabulary: its probability behind each sampler. 0 is cut.

    `raw`, `penalties` and `temperature` add up to 1; from there on samplers only take away, and
    `drawn` is what is left, scaled up to 1. `order` is likeliest first.
    """

    raw: np.ndarray
    penalties: np.ndarray
    temperature: np.ndarray
    top_k: np.ndarray
    top_p: np.ndarray
    min_p: np.ndarray
    drawn: np.ndarray
    order: np.ndarray

    def winner(self, uniform: float) -> int:
        """The token in whose interval the number lies."""
        through = self.drawn[self.order].cumsum()
        return int(self.order[int((through <= uniform * through[-1]).sum())])


def softmax(logits: np.ndarray) -> np.ndarray:
    mass = np.exp(logits - logits.max())
    return mass / mass.sum()


def penalised(
    logits: np.ndarray, sampling: SamplingParams, prompt: list[int], answer: list[int]
) -> np.ndarray:
    adjusted = logits.copy()
    counts = np.bincount(np.array(answer, dtype=int), minlength=len(logits))
    seen = counts > 0
    seen_anywhere = seen | (np.bincount(np.array(prompt, dtype=int), minlength=len(logits)) > 0)
    scale = np.where(seen_anywhere, sampling.repetition_penalty, 1.0)
    adjusted = np.where(adjusted > 0, adjusted / scale, adjusted * scale)
    return adjusted - sampling.presence_penalty * seen - sampling.frequency_penalty * counts


def columns(
    logits: np.ndarray,
    sampling: SamplingParams,
    *,
    prompt: list[int] | None = None,
    answer: list[int] | None = None,
) -> Columns:
    """logits (V,), and the tokens that penalties look at."""
    logits = logits.astype(np.float64)
    adjusted = penalised(logits, sampling, prompt or [], answer or [])
    order = np.argsort(-adjusted, kind="stable")
    if sampling.temperature <= 0:
        tempered = np.zeros_like(logits)
        tempered[order[0]] = 1
        return Columns(softmax(logits), softmax(adjusted), *[tempered] * 5, order=order)
    tempered = softmax(adjusted / sampling.temperature)
    sorted_mass = tempered[order]
    steps: Mapping[str, np.ndarray] = {}
    in_k = np.arange(len(order)) < (sampling.top_k or len(order))
    mass_k = sorted_mass[in_k].sum()
    before = np.concatenate([[0.0], sorted_mass.cumsum()[:-1]])
    in_p = in_k & (before < sampling.top_p * mass_k)
    in_m = in_p & (sorted_mass >= sampling.min_p * sorted_mass[0])
    in_p[0] = in_m[0] = True
    steps = {}
    for name, kept in (("top_k", in_k), ("top_p", in_p), ("min_p", in_m)):
        column = np.zeros_like(tempered)
        column[order[kept]] = sorted_mass[kept]
        steps[name] = column
    drawn = steps["min_p"] / steps["min_p"].sum()
    return Columns(softmax(logits), softmax(adjusted), tempered, **steps, drawn=drawn, order=order)
