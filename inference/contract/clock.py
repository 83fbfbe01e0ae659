"""One moment on two clocks: the wall clock and the monotonic clock of one boot of one host."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path


@functools.cache
def boot_id() -> str:
    """Identify this boot of this host; monotonic clocks compare only within one boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"process-{time.time_ns()}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment on both clocks: `wall_us` since the epoch, `mono_ns` since this boot."""

    wall_us: int
    mono_ns: int
    boot: str

    @classmethod
    def now(cls) -> Stamp:
        return cls(time.time_ns() // 1000, time.monotonic_ns(), boot_id())

    def at_mono(self, mono_ns: int) -> Stamp:
        """The stamp of another moment of the same boot, given its monotonic reading."""
        return Stamp(self.wall_us + (mono_ns - self.mono_ns) // 1000, mono_ns, self.boot)


def offset_us(origin: Stamp, moment: Stamp) -> tuple[int, bool]:
    """Microseconds from `origin` to `moment`, and whether the figure is exact.

    Exact within one boot (monotonic clock). Across hosts the wall clocks' difference, never below
    zero, and marked as inexact.
    """
    if origin.boot == moment.boot:
        return max(0, moment.mono_ns // 1000 - origin.mono_ns // 1000), True
    return max(0, moment.wall_us - origin.wall_us), False
