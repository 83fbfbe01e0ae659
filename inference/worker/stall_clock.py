"""Tells an engine that is stuck from one that gets no CPU time.

A step may take a minute on a machine that others load, and then nothing is wrong with it: ending
its process throws away all that runs and makes the machine slower still. So the clock of a stall
leaves out the time in which the engine wanted to run and was not let: Linux counts it for each
thread (/proc/self/task/*/schedstat). Time that the engine computes counts, so one that spins is
found, and so does time that it sleeps, so one that waits for ever is found. Where the kernel counts
nothing, every second counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

TASKS = Path("/proc/self/task")
ENGINE_THREADS = "engine"  # how the names of the engine's own Python threads begin
MAX_LOOK_S = 3.0
"""Between two looks no more than this counts: after a longer time the whole process was stopped."""


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """What one thread has had since it began, and whether it wants to run now."""

    cpu_ns: int
    run_delay_ns: int  # it was runnable, and others had the CPU
    is_runnable: bool


ReadThreads = Callable[[], dict[int, ThreadTimes]]


class StallClock:
    """How long an engine has made no progress although it had CPU time."""

    def __init__(
        self,
        *,
        read_threads: ReadThreads | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_threads = read_threads or engine_threads
        self._now = now
        self._looked_at = now()
        self._threads: dict[int, ThreadTimes] = {}
        self.stalled_s = 0.0
        self.starved_s = 0.0  # of the same time, and not in `stalled_s`

    def reset(self) -> None:
        """The engine has moved."""
        self._looked_at = self._now()
        self._threads = {}
        self.stalled_s = self.starved_s = 0.0

    def look(self) -> float:
        """Note that the engine hasn't moved since the last look. Returns how long it is stuck, in
        seconds.
        """
        now, threads = self._now(), self._read_threads()
        passed_s = now - self._looked_at
        if self._threads or not threads:
            starved_s = min(passed_s, self._starved_s(threads, passed_s))
            self.starved_s += starved_s
            self.stalled_s += min(passed_s - starved_s, MAX_LOOK_S)
        # else: nothing to compare with yet, and a stall begins with the next look
        self._looked_at, self._threads = now, threads
        return self.stalled_s

    def _starved_s(self, threads: dict[int, ThreadTimes], passed_s: float) -> float:
        """How long the thread that was kept waiting most was kept waiting.

        The kernels' threads wait for the slowest of them, so one that is kept waiting is enough.
        """
        most_s = 0.0
        for tid, new in threads.items():
            if (old := self._threads.get(tid)) is None:
                continue
            most_s = max(most_s, (new.run_delay_ns - old.run_delay_ns) / 1e9)
            if new.is_runnable and old.is_runnable:  # also when a quota of its cgroup is used up
                most_s = max(most_s, passed_s - (new.cpu_ns - old.cpu_ns) / 1e9)
        return most_s


def engine_threads() -> dict[int, ThreadTimes]:
    """The engine's threads in this process: its Python threads, and those of its kernels.

    Empty where Linux' accounting isn't there.
    """
    others = {
        thread.native_id
        for thread in threading.enumerate()
        if not thread.name.startswith(ENGINE_THREADS)
    }
    return read_threads(tid for tid in _thread_ids() if tid not in others)


def read_threads(thread_ids: Iterable[int]) -> dict[int, ThreadTimes]:
    """The times of these threads of this process; one that has ended is left out."""
    found = {}
    for tid in thread_ids:
        try:
            cpu, delay, _slices = (TASKS / str(tid) / "schedstat").read_text().split()
            state = (TASKS / str(tid) / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            continue
        found[tid] = ThreadTimes(int(cpu), int(delay), state == "R")
    return found


def _thread_ids() -> list[int]:
    try:
        return [int(path.name) for path in TASKS.iterdir()]
    except OSError:
        return []
