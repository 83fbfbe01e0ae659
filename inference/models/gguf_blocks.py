"""Turns a GGUF's blocks of quantised weights into numbers, a million at a time.

The values are those of the gguf package's own reading, bit for bit, in a fifth of its time: torch
works through pieces that stay in the cache. Kinds that aren't known here are left to the package.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PIECE = 1 << 20
"""Numbers at a time."""
FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
IDS = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14}
"""Kinds that transformers unpacks in torch, and the numbers by which it knows them."""


def stored_dtype(kind: str) -> torch.dtype:
    """In which dtype weights of this kind are kept: their own, or float16 for quantised ones.

    float16 has eleven bits: of a value it loses a sixteenth of what eight bits have lost already.
    BF16 would lose half as much again as they have, and four-bit weights would leave their grid.
    """
    return FLOATS.get(kind, torch.float16)


def block_size(kind: str) -> tuple[int, int]:
    """How many numbers a block of this kind holds, in how many bytes. Raises KeyError."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    numbers, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return int(numbers), int(size)


def unpack(data: np.ndarray, kind: str) -> Tensor:
    """The numbers in `data`, bytes of a whole tensor, flat and in `stored_dtype`.

    Quantised ones that float16 can't hold come as bfloat16. Raises NotImplementedError for a kind
    that nobody here can read.
    """
    if kind in FLOATS:
        return torch.from_numpy(np.array(data)).view(FLOATS[kind])
    numbers, size = block_size(kind)
    blocks = data.reshape(-1, size)
    out = torch.empty(len(blocks) * numbers, dtype=torch.float16)
    if not _unpack_into(out, blocks, kind, numbers):
        out = torch.empty(len(out), dtype=torch.bfloat16)
        _unpack_into(out, blocks, kind, numbers)
    return out


def _unpack_into(out: Tensor, blocks: np.ndarray, kind: str, numbers: int) -> bool:
    """False as soon as a number is too large for the dtype of `out`."""
    largest = torch.finfo(out.dtype).max
    step = PIECE // numbers
    for begin in range(0, len(blocks), step):
        piece = unpack_piece(np.array(blocks[begin : begin + step]), kind)
        low, high = torch.aminmax(piece)
        if max(float(high), -float(low)) > largest:
            return False
        out[begin * numbers : begin * numbers + piece.numel()] = piece
    return True


def unpack_piece(blocks: np.ndarray, kind: str) -> Tensor:
    """Blocks (n, bytes) → their numbers, flat float32."""
    if kind in ("Q5_0", "Q5_1"):
        return _five_bits(torch.from_numpy(blocks), has_minimum=kind == "Q5_1").reshape(-1)
    if kind in IDS:
        from transformers.integrations.gguf.dequant import dequantize

        return dequantize(torch.from_numpy(blocks).reshape(-1), IDS[kind])
    from gguf import GGMLQuantizationType
    from gguf import dequantize as by_package

    return torch.from_numpy(by_package(blocks, GGMLQuantizationType[kind])).reshape(-1)


def _five_bits(blocks: Tensor, *, has_minimum: bool) -> Tensor:
    """Scale, perhaps minimum, a plane of fifth bits, then nibbles: numbers 0 to 15, 16 to 31."""
    halves = 2 if has_minimum else 1
    scales = blocks[:, : 2 * halves].view(torch.float16).float()
    high = _fifth_bits()[blocks[:, 2 * halves : 2 * halves + 4].long()].view(torch.uint8)
    nibbles = blocks[:, 2 * halves + 4 :]
    levels = torch.empty(len(blocks), 32, dtype=torch.uint8)
    torch.bitwise_and(nibbles, 15, out=levels[:, :16])
    torch.bitwise_right_shift(nibbles, 4, out=levels[:, 16:])
    levels |= high
    if has_minimum:
        return scales[:, :1] * levels + scales[:, 1:]
    return scales * (levels.view(torch.int8) - 16)


def _fifth_bits() -> Tensor:
    """(256,) int64: the eight bits of a byte, each a byte of 0 or 16."""
    bits = torch.arange(256)[:, None] >> torch.arange(8) & 1
    return (bits.to(torch.uint8) << 4).view(torch.int64).view(256)
