"""The device the model runs on: its memory, its speed, and host lists put onto it.

The speed is measured in the engine thread at load, in about a quarter of a second; what a request
could take at best follows from it (served_model.py; docs/measures.md has the definitions).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
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


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    """Bytes read per second and floating point operations per second; 0 where not measured."""

    bandwidth_bytes_s: float = 0.0
    flops_s: float = 0.0


def measure_speed(device: torch.device, dtype: torch.dtype) -> DeviceSpeed:
    """Read a large tensor and multiply two matrices, a few times each; the best of them."""
    cuda = device.type == "cuda"
    size = (1 << 30) if cuda else (1 << 27)
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    read_s = _best_s(source.sum, device, repeats=4)
    n = 8192 if cuda else 1024
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    product_s = _best_s(lambda: a @ b, device, repeats=4)
    return DeviceSpeed(bandwidth_bytes_s=size / read_s, flops_s=2 * n**3 / product_s)


def _best_s(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    """The shortest of a few runs, in seconds."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return best
