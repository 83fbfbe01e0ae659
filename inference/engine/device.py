"""The device the model runs on: its memory, and host lists put onto it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def pick_device(name: str) -> torch.device:
    """The device by name; "auto" is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def to_device(values: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of `values` on `device`, without making the host wait for the device.

    On CUDA through pinned memory, in stream order.
    """
    return move(torch.tensor(values, dtype=dtype, pin_memory=device.type == "cuda"), device)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`, in stream order."""
    if device.type != "cuda":
        return tensor
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in use by this process, free for it, and there are in all; 0 where unknown."""

    used: int = 0
    free: int = 0
    total: int = 0


def device_memory(device: torch.device) -> Memory:
    """The device's own memory on CUDA, the process's share of the host's on a CPU."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(used=torch.cuda.memory_allocated(device), free=free, total=total)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Memory()
    host = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    used = pages * os.sysconf("SC_PAGE_SIZE")
    return Memory(used=used, free=host.get("MemAvailable", 0), total=host.get("MemTotal", 0))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed.

    torch raises OutOfMemoryError on GPUs. Its CPU allocator has no type of its own: it raises a
    plain RuntimeError that begins with the check that failed.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
