"""The product with INT8 weights for few rows, in Triton: weights are read once, as bytes.

Importing it needs Triton, which comes with torch's builds for GPUs. int8_linear.py tries the kernel
before it is used.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

OUTPUTS, INPUTS = 32, 256
"""Of one step of a program: rows of bytes long enough to be read whole, and many programs."""


@triton.jit
def _product(  # type: ignore[no-untyped-def]
    x_at, weight_at, scale_at, out_at, rows, outputs, inputs,
    ROWS: tl.constexpr, OUTPUTS: tl.constexpr, INPUTS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    output = (tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)).to(tl.int64)
    lane = tl.arange(0, INPUTS)
    total = tl.zeros((ROWS, OUTPUTS), dtype=tl.float32)
    for begin in range(0, inputs, INPUTS):
        column = begin + lane
        x = tl.load(
            x_at + row[:, None] * inputs + column[None, :],
            mask=(row[:, None] < rows) & (column[None, :] < inputs),
            other=0.0,
        )
        weight = tl.load(
            weight_at + output[None, :] * inputs + column[:, None],
            mask=(output[None, :] < outputs) & (column[:, None] < inputs),
            other=0,
        )
        total += tl.dot(x, weight.to(x.dtype))
    scale = tl.load(scale_at + output, mask=output < outputs, other=0.0)
    tl.store(
        out_at + row[:, None] * outputs + output[None, :],
        (total * scale[None, :]).to(out_at.dtype.element_ty),
        mask=(row[:, None] < rows) & (output[None, :] < outputs),
    )


def multiply_int8(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """See int8_linear.Multiply. x in half precision; sums are float32, in one order."""
    x = x.contiguous()
    rows, inputs = x.shape
    outputs = weight.shape[0]
    out = torch.empty(rows, outputs, dtype=x.dtype, device=x.device)
    block = 16 if rows <= 16 else 32 if rows <= 32 else 64
    grid = (triton.cdiv(outputs, OUTPUTS), triton.cdiv(rows, block))
    _product[grid](
        x, weight, scale, out, rows, outputs, inputs,
        ROWS=block, OUTPUTS=OUTPUTS, INPUTS=INPUTS, num_warps=4, num_stages=4,
    )  # fmt: skip
    return out
