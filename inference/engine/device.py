"""How fast this device reads memory and multiplies: what the floors of a request are made of.

Measured in the engine thread at load, in about a quarter of a second; sources of the formulas:
the project's own definitions (floor of TPOT: bytes over bandwidth; floor of prefill: products over
FLOP/s).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


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
    read_s = _best(source.sum, device, repeats=4)
    n = 8192 if cuda else 1024
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    product_s = _best(lambda: a @ b, device, repeats=4)
    return DeviceSpeed(bandwidth_bytes_s=size / read_s, flops_s=2 * n**3 / product_s)


def _best(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return best
