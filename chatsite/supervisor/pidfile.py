"""The lock and the process list of a data folder: one supervisor at a time, no orphan left.

The running supervisor holds `run/lock`, so two starts at once make one site. `run/up.json` lists
its processes with their start times: a later process with a reused number is left alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

ProcessIdentity = tuple[int, float]  # a process's number and when it began
ORDERLY_S = 45.0  # a supervisor stops its children one after the other
ORPHAN_S = 10.0


class CannotStart(Exception):
    """Why the site can't start, as one sentence for the person at the terminal."""


def acquire_lock(run: Path) -> IO[str]:
    """Take the lock of this data folder; it is held until it is closed or the process ends.

    Raises CannotStart while another supervisor holds it.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = (run / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        text = "The site runs already with this data folder; stop it with: make down"
        raise CannotStart(text) from None
    return lock


def write_pids(run: Path, pids: Iterable[int]) -> None:
    """Record which processes run, the supervisor first. Whole or not at all."""
    recorded = [identity for pid in pids if (identity := _identity(pid))]
    fresh = run / "up.json.new"
    fresh.write_text(json.dumps(recorded))
    fresh.replace(run / "up.json")


def remove_pids(run: Path) -> None:
    """Delete the list: no process runs any more."""
    (run / "up.json").unlink(missing_ok=True)


def stop_recorded(run: Path) -> bool:
    """Stop the supervisor that runs here, or the processes of a killed one. False if none ran."""
    try:
        recorded = json.loads((run / "up.json").read_text())
    except (OSError, ValueError):
        return False
    if not _alive(recorded):
        remove_pids(run)
        return False
    if _alive(recorded[:1]):
        _terminate(recorded[:1], ORDERLY_S)  # it stops the others
    _terminate(recorded, ORPHAN_S)
    remove_pids(run)
    return True


def _terminate(recorded: list[ProcessIdentity], wait_s: float) -> None:
    """SIGTERM, and SIGKILL for those that don't go in time. A zombie is gone."""
    for process in _alive(recorded):
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + wait_s
    while (alive := _alive(recorded)) and time.monotonic() < deadline + ORPHAN_S:
        if time.monotonic() > deadline:
            for process in alive:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(0.05)


def _alive(recorded: list[ProcessIdentity]) -> list[psutil.Process]:
    return [process for pid, begun in recorded if (process := _same_process(pid, begun))]


def _identity(pid: int) -> ProcessIdentity | None:
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def _same_process(pid: int, begun: float) -> psutil.Process | None:
    """The process of that number, if it is still the one that was recorded."""
    if pid == os.getpid():
        return None
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(process.create_time() - begun) < 1 else None
    except psutil.NoSuchProcess:
        return None
