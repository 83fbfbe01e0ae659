"""How fast the device reads and multiplies: the best ever seen, for the floors of requests.

A measurement beside other work comes out too low, never too high. So it is taken again while the
engine has nothing to do, and the best is kept between starts (kept_measurements.py). What follows
for a request is in served_model.py; docs/measures.md has the definitions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from inference.engine.kept_measurements import keep

log = logging.getLogger(__name__)

KIND = "speeds"
FIRST_REST_S = 5.0
LONGEST_REST_S = 600.0
"""Idle seconds before the first further measurement, and between later ones at most."""


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    """Bytes read per second and operations per second; 0 where not measured.

    `seen_us` is when the newer of the two was measured, in wall µs.
    """

    bandwidth_bytes_s: float = 0.0
    flops_s: float = 0.0
    seen_us: int = 0


class SpeedMeter:
    """The best speed of one device. Without `measure` nothing is ever known.

    `measure` takes a fraction of a second and is called from the engine thread alone; `best` may be
    read from any. `way` names the kernels and threads that the products are of; reading is the
    memory's own, whoever reads. Of `devices` that work together one is measured.
    """

    def __init__(
        self,
        measure: Callable[[], DeviceSpeed] | None = None,
        *,
        device: torch.device | None = None,
        way: str = "",
        devices: int = 1,
    ) -> None:
        self.best = DeviceSpeed()
        self._measure, self._way, self._devices = measure, way, devices
        self._device = device or torch.device("cpu")
        self._rest_s = FIRST_REST_S
        self._idle_since_s: float | None = None

    def measure(self) -> DeviceSpeed:
        """Measure now; `best` is then the better of this and all that is kept."""
        if self._measure is None:
            return self.best
        found = self._measure()
        now = {"read": found.bandwidth_bytes_s, f"products, {self._way}": found.flops_s}
        now_us = time.time_ns() // 1000

        def better(entries: dict[str, Any]) -> None:
            for name, per_s in now.items():
                if per_s > _number(entries.get(name), "per_s"):
                    entries[name] = {"per_s": per_s, "seen_us": now_us}

        best = [keep(self._device, KIND, better).get(name) for name in now]
        read, products = (self._devices * _number(entry, "per_s") for entry in best)
        seen_us = max(int(_number(entry, "seen_us")) for entry in best)
        self.best = DeviceSpeed(read, products, seen_us)
        return self.best

    def note_work(self) -> None:
        """The engine has something to do."""
        self._idle_since_s = None

    def rest(self, now_s: float) -> bool:
        """Called while the engine has nothing to do: measure if it is time; whether it did."""
        if self._measure is None:
            return False
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        if now_s - self._idle_since_s < self._rest_s:
            return False
        self._idle_since_s = now_s
        self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
        try:
            self.measure()
        except (MemoryError, RuntimeError) as error:  # no room for it: what is known stays
            log.info("The device can't be measured again: %s", error)
            self._measure = None
        return True


def _number(entry: Any, name: str) -> float:
    """A positive number of an entry, which somebody may have edited; else 0."""
    value = entry.get(name) if isinstance(entry, dict) else None
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def measure_speed(device: torch.device, dtype: torch.dtype) -> DeviceSpeed:
    """Read a large tensor and multiply two matrices by torch, a few times each; the best of them.

    About a quarter of a second on a CPU.
    """
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
