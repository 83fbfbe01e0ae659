"""Measures once on each CPU how fast the kernels' formats are, with all threads and with half.

For each, matrices are multiplied that come from memory, as weights do in a decode step, with one
row and with eight. What was measured is kept (kept_measurements.py) for this CPU and this build of
the kernels; while other processes use the cores, nothing is: it would be the order of chance.
Doesn't know what a format costs in quality (dtype_choice.py does).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from inference.contract import FormatSpeed
from inference.engine.kept_measurements import keep, kept
from inference.engine.native.packing import FORMATS

KIND = "formats"
CANDIDATES = ("bfloat16", "int8", "int4")
"""The most exact first: of two that are as fast, it is taken."""
ABOUT_AS_FAST = 1.05
MATRICES, OUTPUTS, INPUTS = 8, 2048, 1024
ROWS = (1, 8)
CACHES_BYTES = 64 << 20
"""Read between two turns, so that weights come from memory each time."""
SECONDS, TURNS = 0.1, 5
"""At least, for each format, number of threads and number of rows."""
MOST_BY_OTHERS = 0.1
"""Share of the cores that others may take while a candidate is measured."""
CPU = torch.device("cpu")


class FormatMeter:
    """The candidates with `threads` threads, and, if `try_fewer`, the fastest with half of them.

    Called from the engine thread, whose number of torch threads it leaves at `threads`.
    """

    def __init__(self, kernels: ModuleType, *, threads: int, try_fewer: bool) -> None:
        self._kernels, self._threads, self._try_fewer = kernels, threads, try_fewer
        library = Path(str(kernels.__file__))
        # A build's folder is named by a hash, a wheel's isn't: there the size tells versions apart.
        self._build = f"{library.parent.name}, {library.stat().st_size} bytes"
        self._known: dict[str, Any] = kept(CPU, KIND).get(self._build, {})

    @property
    def speeds(self) -> tuple[FormatSpeed, ...]:
        """What is known so far, in order of the candidates."""
        looked_at = ((dtype, self._threads) for dtype in CANDIDATES)
        found = [speed for key in looked_at if (speed := self._speed(*key)) is not None]
        if len(found) == len(CANDIDATES) and self._fewer:
            found += filter(None, [self._speed(by_speed(found)[0], self._fewer)])
        return tuple(found)

    @property
    def missing(self) -> tuple[str, int] | None:
        """The format and number of threads to measure next; None when all are known."""
        found = self.speeds
        for dtype in CANDIDATES:
            if not any(speed.dtype == dtype for speed in found):
                return dtype, self._threads
        if self._fewer and not any(speed.threads == self._fewer for speed in found):
            return by_speed(found)[0], self._fewer
        return None

    def measure_next(self) -> bool:
        """Measure what is missing next, in about 0.4 s; False if others were using the cores."""
        if self.missing is None or is_busy(self._threads):
            return False
        dtype, threads = self.missing
        torch.set_num_threads(threads)
        try:
            others_s, own_s, wall_s = cpu_s_of_others(), time.thread_time(), time.monotonic()
            times = _measure(self._kernels, dtype)
            others_s = cpu_s_of_others() - others_s
            own_s, wall_s = time.thread_time() - own_s, time.monotonic() - wall_s
        finally:
            torch.set_num_threads(self._threads)
        # Other threads of this process are seen by what is missing to this one.
        if others_s + wall_s - own_s > MOST_BY_OTHERS * wall_s * self._threads:
            return False
        entry = {"us": times, "seen_us": time.time_ns() // 1000}

        def change(builds: dict[str, Any]) -> None:
            builds.setdefault(self._build, {})[_name(dtype, threads)] = entry

        self._known = keep(CPU, KIND, change)[self._build]
        return True

    @property
    def _fewer(self) -> int:
        """Half of the threads, if that is to be tried; else 0."""
        return self._threads // 2 if self._try_fewer else 0

    def _speed(self, dtype: str, threads: int) -> FormatSpeed | None:
        """An entry of the file, which somebody may have edited."""
        with suppress(KeyError, TypeError, ValueError):
            entry = self._known[_name(dtype, threads)]
            return FormatSpeed(
                dtype=dtype,
                threads=threads,
                one_row_us=float(entry["us"]["1"]),
                eight_rows_us=float(entry["us"]["8"]),
                seen_us=int(entry["seen_us"]),
            )
        return None


def by_speed(found: Sequence[FormatSpeed]) -> list[str]:
    """Formats measured with the most threads, the fastest first; about as fast: the most exact."""
    threads = max(speed.threads for speed in found)
    left = [speed for speed in found if speed.threads == threads]
    order: list[str] = []
    while left:
        limit = min(map(cost_us, left)) * ABOUT_AS_FAST
        close = [speed for speed in left if cost_us(speed) <= limit]
        chosen = min(close, key=lambda speed: CANDIDATES.index(speed.dtype))
        order.append(chosen.dtype)
        left.remove(chosen)
    return order


def best_threads(found: Sequence[FormatSpeed], *, default: int) -> int:
    """Fewer threads than the default where a format was clearly faster with them."""
    for fewer in found:
        for all_ in found:
            is_pair = fewer.dtype == all_.dtype and fewer.threads < all_.threads == default
            if is_pair and cost_us(fewer) * ABOUT_AS_FAST < cost_us(all_):
                return fewer.threads
    return default


def cost_us(speed: FormatSpeed) -> float:
    """One chat and eight chats count the same."""
    return speed.one_row_us + speed.eight_rows_us


def is_busy(threads: int) -> bool:
    """Whether the cores had much to do over the last minute."""
    return os.getloadavg()[0] > max(1.5, threads)


def cpu_s_of_others() -> float:
    """CPU seconds that other processes have had since the machine started; 0 where unknown."""
    try:
        line = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
    all_ = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return all_ - time.process_time()


def _name(dtype: str, threads: int) -> str:
    return f"{dtype}, {threads} threads"


def _measure(kernels: ModuleType, dtype: str) -> dict[str, float]:
    """µs for a hundred million weights, by number of rows."""
    make = torch.Generator().manual_seed(0)
    arena = kernels.Arena()
    matrices = [
        kernels.Packed(torch.randn(OUTPUTS, INPUTS, generator=make), FORMATS[dtype], None, arena)
        for _ in range(MATRICES)
    ]
    caches = torch.ones(CACHES_BYTES, dtype=torch.uint8)
    scale = 1e6 * 100e6 / (MATRICES * OUTPUTS * INPUTS)
    found = {}
    for rows in ROWS:
        x = torch.randn(rows, INPUTS)
        best_s, turns, end_s = float("inf"), 0, time.monotonic() + SECONDS
        while turns < TURNS or time.monotonic() < end_s:
            kernels.peak_read(caches)
            begin_s = time.perf_counter()
            for packed in matrices:
                kernels.linear(x, packed)
            best_s = min(best_s, time.perf_counter() - begin_s)
            turns += 1
        found[str(rows)] = round(best_s * scale, 1)
    return found
