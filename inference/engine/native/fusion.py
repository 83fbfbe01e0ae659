"""Verifies on numbers the decoder layers that have been rebuilt on the native kernels.

A layer that prepared.py has put together again is fed what the model itself fed its layer in a
calibration run (calibration.py). Only if it then gives what the model's own layer gave does the
backend replace the layer. Knows nothing of pages or steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.engine.native.calibration import LayerCalibration
from inference.engine.native.rope import half_table

TOLERANCE = 0.08
"""Relative error of a rebuilt layer's contribution: BF16 gives 0.005, keys with biases of 145 in
BF16 pages 0.039 (the first layer of Qwen2.5), a wrong part 0.1 and more."""


def contribution_error(decoder: Any, seen: LayerCalibration, *, uses_rope: bool) -> float:
    """Relative error of what a one-layer Decoder adds to the stream, against the model's."""
    tokens = seen.hidden.shape[1]
    page = -(-tokens // 16) * 16
    at = torch.arange(tokens)
    x = seen.hidden[0].clone().contiguous()
    tables, rope = [], [-1]
    if uses_rope and seen.cos_sin is not None:
        tables, rope = [half_table(*seen.cos_sin)], [0]
    allocate_pages(decoder, 0, 1, page)
    decoder.run_layers(
        x, at, at, torch.zeros_like(at), torch.zeros(1, 1, dtype=torch.int32), tables, rope, False
    )
    expected = seen.output[0] - seen.hidden[0]
    return float((x - seen.output[0]).norm() / expected.norm().clamp_min(1e-12))


def allocate_pages(
    decoder: Any, layer: int, num_pages: int, page_tokens: int
) -> tuple[Tensor, Tensor]:
    """Make zeroed pages for one layer of a Decoder and hand them to it."""
    kv_heads, dim = decoder.heads(layer)
    keys, values = (
        torch.zeros(num_pages, kv_heads, page_tokens * dim, dtype=torch.bfloat16) for _ in range(2)
    )
    decoder.set_pages(layer, keys, values, page_tokens)
    return keys, values
