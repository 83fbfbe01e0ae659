"""Slow is not stuck: what counts towards a stall, on a clock of the test and on a real thread."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from inference.worker.stall_clock import StallClock, ThreadTimes, engine_threads

ROOT = Path(__file__).resolve().parents[3]


class Machine:
    """Threads of an engine on a clock that the test moves."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.threads = {1: ThreadTimes(0, 0, False)}
        self.clock = StallClock(read_threads=lambda: dict(self.threads), now=lambda: self.time_s)

    def pass_second(self, *, cpu_s: float, waits_s: float, runnable: bool, tid: int = 1) -> float:
        self.time_s += 1.0
        old = self.threads.get(tid, ThreadTimes(0, 0, runnable))
        self.threads[tid] = ThreadTimes(
            old.cpu_ns + int(cpu_s * 1e9), old.run_delay_ns + int(waits_s * 1e9), runnable
        )
        return self.clock.look()


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    made.clock.look()
    return made


def test_an_engine_that_is_given_no_cpu_is_not_stuck(machine: Machine) -> None:
    for _ in range(100):
        machine.pass_second(cpu_s=0.02, waits_s=0.98, runnable=True)
    assert machine.clock.stalled_s == pytest.approx(2.0)
    assert machine.clock.starved_s == pytest.approx(98.0)


def test_an_engine_that_spins_is_stuck(machine: Machine) -> None:
    for _ in range(31):
        machine.pass_second(cpu_s=1.0, waits_s=0.0, runnable=True)
    assert machine.clock.stalled_s > 30


def test_an_engine_that_waits_for_ever_is_stuck(machine: Machine) -> None:
    for _ in range(31):
        machine.pass_second(cpu_s=0.0, waits_s=0.0, runnable=False)
    assert machine.clock.stalled_s > 30


def test_an_engine_that_waits_for_a_starved_thread_of_its_kernels_is_not_stuck(
    machine: Machine,
) -> None:
    for _ in range(40):
        machine.threads[1] = ThreadTimes(0, 0, False)
        machine.pass_second(cpu_s=0.05, waits_s=0.95, runnable=True, tid=2)
    assert machine.clock.stalled_s < 5


def test_a_used_up_quota_counts_as_no_cpu(machine: Machine) -> None:
    """A throttled cgroup: runnable, and the kernel counts no delay."""
    for _ in range(40):
        machine.pass_second(cpu_s=0.01, waits_s=0.0, runnable=True)
    assert machine.clock.stalled_s < 3


def test_a_process_that_was_stopped_as_a_whole_is_not_stuck(machine: Machine) -> None:
    machine.time_s += 300
    machine.clock.look()
    assert machine.clock.stalled_s <= 3


def test_a_step_begins_the_count_anew(machine: Machine) -> None:
    for _ in range(20):
        machine.pass_second(cpu_s=1.0, waits_s=0.0, runnable=True)
    machine.clock.reset()
    assert machine.clock.look() == 0


def test_only_the_engines_threads_are_looked_at() -> None:
    stop = threading.Event()
    engine = threading.Thread(target=stop.wait, name="engine", daemon=True)
    other = threading.Thread(target=stop.wait, name="publisher", daemon=True)
    for thread in (engine, other):
        thread.start()
    try:
        found = engine_threads()
        assert engine.native_id in found
        assert other.native_id not in found
        assert threading.main_thread().native_id not in found
    finally:
        stop.set()


REAL = """
    import os, sys, threading, time
    from inference.worker.stall_clock import StallClock

    what = sys.argv[1]
    def run():
        if what == "blocks":
            threading.Event().wait()
        while True:
            pass
    if what == "starves":  # one core for this process and its busy children
        cpu = next(iter(os.sched_getaffinity(0)))
        os.sched_setaffinity(0, {cpu})
        for _ in range(15):
            if os.fork() == 0:
                end = time.monotonic() + 9
                while time.monotonic() < end:
                    pass
                os._exit(0)
        os.nice(10)
    threading.Thread(target=run, name="engine", daemon=True).start()
    clock = StallClock()
    clock.look()
    began = time.monotonic()
    while time.monotonic() - began < 6:
        time.sleep(0.5)
        clock.look()
    print(clock.stalled_s, clock.starved_s, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="Linux' accounting")
@pytest.mark.parametrize("what", ["starves", "blocks"])
def test_real_threads(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REAL), what],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    stalled_s, starved_s = map(float, done.stdout.split())
    if what == "blocks":
        assert stalled_s > 4
    else:
        assert stalled_s < starved_s
        assert stalled_s < 3
