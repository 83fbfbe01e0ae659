"""Packed linears: modules that multiply with weights in the layouts of the native kernels.

Packs from float32, so that a dtype loses only once. Doesn't know layers (fusion.py does).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

FORMATS = {"bfloat16": 0, "int8": 1, "int4": 2, "float32": 3, "float16": 4}
"""Dtypes the kernels multiply in, and the numbers by which formats.h knows them."""

PACKED_INPUTS = 32
"""Inputs of a packed product come in groups of this many."""


def head_format(dtype: str) -> str:
    """How the output head is packed: INT4 models keep theirs in INT8.

    Every logit passes through it, and what it reads is a fifth of a small model.
    """
    return "int8" if dtype == "int4" else dtype


class Packer:
    """Packs matrices side by side into large pages."""

    def __init__(self, kernels: ModuleType) -> None:
        self.kernels = kernels
        self._arena = kernels.Arena()

    def pack(self, weights: list[Tensor], dtype: str, *, bias: Tensor | None = None) -> Any:
        """Pack matrices (outputs_i, inputs), stacked, as one. Returns the kernels' `Packed`."""
        stacked = weights[0] if len(weights) == 1 else torch.cat(weights)
        stacked = stacked.detach().float().contiguous()
        bias = None if bias is None else bias.detach().float()
        return self.kernels.Packed(stacked, FORMATS[dtype], bias, self._arena)


class PackedLinear(nn.Module):
    """An nn.Linear on packed weights. float32 in, float32 out."""

    def __init__(self, kernels: ModuleType, packed: Any) -> None:
        super().__init__()
        self.packed = packed
        self.in_features = int(packed.inputs)
        self.out_features = int(packed.outputs)
        self._linear = kernels.linear

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._linear(x, self.packed)
        return out

    @property
    def weight_bytes(self) -> int:
        return int(self.packed.nbytes)


def can_pack(module: nn.Module) -> bool:
    """Whether `pack_linears` may replace this module; subclasses of Linear may do more than it."""
    return type(module) is nn.Linear and module.in_features % PACKED_INPUTS == 0


def pack_linears(packer: Packer, model: nn.Module, dtype: str) -> tuple[int, int]:
    """Replace the model's Linears by packed ones. Returns how many were, and how many were left."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    packed = left = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if not can_pack(child):
                left += isinstance(child, nn.Linear)
                continue
            assert isinstance(child, nn.Linear)
            form = head_format(dtype) if child is head else dtype
            weights = packer.pack([child.weight], form, bias=child.bias)
            setattr(parent, name, PackedLinear(packer.kernels, weights))
            packed += 1
    return packed, left
