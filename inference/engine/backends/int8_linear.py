"""Linears with INT8 weights for GPUs: half of what a decode step reads.

A weight is a byte times its output's scale; activations stay in half precision. Few rows are
multiplied by a kernel of ours (int8_triton.py) where it agrees with torch, many by torch on weights
that are widened first. Knows no layers; the native kernels have an INT8 of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Multiply = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (rows, inputs), weights (outputs, inputs) int8, scales (outputs,) → (rows, outputs)."""

FEW_ROWS = 128
"""From here on widening the weights costs less than a plain kernel loses to torch's products."""
LARGEST_BYTE = 127.0


class Int8Linear(nn.Module):
    """An nn.Linear with weights in INT8, rounded to the nearest; each output has its own scale."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, *, multiply_few: Multiply | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp_(min=1e-12) / LARGEST_BYTE
        self.register_buffer("weight", (weight / scale[:, None]).round_().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())
        self._multiply_few = multiply_few or multiply_widened

    def forward(self, x: Tensor) -> Tensor:
        """x (..., inputs) → (..., outputs) in the dtype of x."""
        rows = x.reshape(-1, self.in_features)
        multiply = self._multiply_few if len(rows) < FEW_ROWS else multiply_widened
        out = multiply(rows, self.weight, self.scale).view(*x.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias


def multiply_widened(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """See Multiply. Bytes are exact in half precision, so that only the scale is rounded."""
    return F.linear(x, weight.to(x.dtype)) * scale.to(x.dtype)


def quantize_linears(model: nn.Module, *, multiply_few: Multiply | None = None) -> int:
    """Replace every plain Linear of the model; returns how many there were."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child, multiply_few=multiply_few))
                count += 1
    return count


def find_kernel(device: torch.device, dtype: torch.dtype) -> tuple[Multiply | None, str]:
    """The kernel for few rows and "", or None and why it isn't used; found by trying it."""
    if device.type != "cuda":
        return None, "not on a GPU"
    try:
        from inference.engine.backends.int8_triton import multiply_int8
    except ImportError as error:
        return None, str(error)
    make = torch.Generator(device="cpu").manual_seed(0)
    for rows, outputs, inputs in ((1, 96, 160), (40, 200, 512)):
        x = torch.randn(rows, inputs, generator=make).to(device, dtype)
        weight = torch.randint(-127, 128, (outputs, inputs), generator=make, dtype=torch.int8)
        weight = weight.to(device)
        scale = torch.rand(outputs, generator=make).to(device) / LARGEST_BYTE
        expected = (x.double() @ weight.double().T) * scale
        try:
            found = multiply_int8(x, weight, scale).double()
        except Exception as error:  # a compiler that isn't there, or doesn't know the device
            return None, (str(error).splitlines() or [type(error).__name__])[0]
        error_share = float((found - expected).norm() / expected.norm())
        if not error_share < 0.01:
            return None, f"it is {error_share:.1%} off"
    return multiply_int8, ""
