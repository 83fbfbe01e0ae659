"""Small host lists to device tensors without making the host wait for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def to_device(values: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of `values` on `device`; on CUDA through pinned memory, in stream order."""
    return move(torch.tensor(values, dtype=dtype, pin_memory=device.type == "cuda"), device)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`, in stream order."""
    if device.type != "cuda":
        return tensor
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)
