"""Tables of rotations by position, made by the model's own rotary module and grown as needed.

Tables spare each step the cosines, and make a position's rotation the same in every batch (a
vectorised cosine may round differently at the end of a row). Rope types whose angles depend on how
long the sequence is have no table; their cosines come with every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inference.engine.backends.step_batch import CosSin

FIXED = {"default", "linear", "llama3", "yarn"}
"""Rope types whose angles depend on the position alone."""


class RopeTables:
    """Cosines and sines by position for every layer. Raises LookupError where there can be none."""

    def __init__(self, rotary: nn.Module | None, per_layer: Sequence[CosSin | None]) -> None:
        """`per_layer`: what each layer got for positions 0, 1 ... of a trial run; None: no rope."""
        kinds = getattr(rotary, "rope_type", None)
        kinds = set(kinds.values()) if isinstance(kinds, dict) else {kinds}
        if any(per_layer) and (rotary is None or not kinds <= FIXED):
            raise LookupError(f"its rope ({', '.join(map(str, kinds))}) has no table by position")
        self._makers: list[Callable[[int], CosSin]] = []
        self.of_layer: list[int] = []
        self.tables: list[CosSin] = []
        self.length = 0
        found: dict[int, int] = {}
        for cos_sin in per_layer:
            if cos_sin is None:
                self.of_layer.append(-1)
                continue
            key = id(cos_sin[0])
            if key not in found:
                found[key] = len(self._makers)
                self._makers.append(_maker_of(rotary, cos_sin))
            self.of_layer.append(found[key])

    def reach(self, length: int) -> list[CosSin]:
        """The tables, with a row for each position below `length` at least."""
        if length > self.length:
            self.length = max(1024, 1 << (length - 1).bit_length())
            self.tables = [make(self.length) for make in self._makers]
        return self.tables


def half_table(cos: Tensor, sin: Tensor) -> CosSin:
    """transformers repeats each angle for both halves of a head; the kernels want it once.

    cos and sin (1, T, dim) → (T, dim / 2) float32, contiguous.
    """
    half = cos.shape[-1] // 2
    return cos[0, :, :half].float().contiguous(), sin[0, :, :half].float().contiguous()


def _maker_of(rotary: Any, expected: CosSin) -> Callable[[int], CosSin]:
    """The call of the rotary module that reproduces the rotations a layer was given."""
    x = torch.empty(1, dtype=torch.float32)
    kinds: list[tuple[str, ...]] = [()]
    kinds += [(kind,) for kind in getattr(rotary, "layer_types", None) or ()]
    config_kinds = getattr(getattr(rotary, "config", None), "layer_types", None) or ()
    kinds += [(kind,) for kind in sorted(set(config_kinds))]
    for extra in kinds:

        def make(length: int, extra: tuple[str, ...] = extra) -> CosSin:
            return half_table(*rotary(x, torch.arange(length)[None], *extra))

        try:
            made = make(expected[0].shape[1])
        except (TypeError, AttributeError, KeyError):
            continue
        if all(
            a.shape == b.shape and torch.allclose(a, b, atol=1e-5)
            for a, b in zip(made, half_table(*expected), strict=True)
        ):
            return make
    raise LookupError("the rotary module gives other angles than its layers get")
