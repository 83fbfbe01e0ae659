"""Who runs with a data folder, and what a supervisor that was killed left behind.

`run/lock` is held by the living supervisor, so that two starts at once make one site. `run/up.json`
lists its processes, each with the time it began: a later process with the same number is not ours.
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

from chatsite.supervisor.checks import CannotStart

Identity = tuple[int, float]  # a process's number and when it began
ORDERLY_S = 45.0  # a supervisor stops its children one after the other
ORPHAN_S = 10.0


def hold(run: Path) -> IO[str]:
    """The lock of this data folder; it lasts until it is closed or the process ends.

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


def note(run: Path, pids: Iterable[int]) -> None:
    """Write down which processes run, the supervisor first. Whole or not at all."""
    noted = [identity for pid in pids if (identity := _identity(pid))]
    fresh = run / "up.json.new"
    fresh.write_text(json.dumps(noted))
    fresh.replace(run / "up.json")


def forget(run: Path) -> None:
    (run / "up.json").unlink(missing_ok=True)


def stop_noted(run: Path) -> bool:
    """Stop the supervisor that runs here, or what a dead one left. False when nothing did."""
    try:
        noted = json.loads((run / "up.json").read_text())
    except (OSError, ValueError):
        return False
    if not _alive(noted):
        forget(run)
        return False
    if _alive(noted[:1]):
        _end(noted[:1], ORDERLY_S)  # it stops the others
    _end(noted, ORPHAN_S)
    forget(run)
    return True


def _end(noted: list[Identity], wait_s: float) -> None:
    """SIGTERM, and SIGKILL for those that don't go in time. A zombie is gone."""
    for process in _alive(noted):
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + wait_s
    while (alive := _alive(noted)) and time.monotonic() < deadline + ORPHAN_S:
        if time.monotonic() > deadline:
            for process in alive:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(0.05)


def _alive(noted: list[Identity]) -> list[psutil.Process]:
    return [process for pid, begun in noted if (process := _same_process(pid, begun))]


def _identity(pid: int) -> Identity | None:
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def _same_process(pid: int, begun: float) -> psutil.Process | None:
    """The process of that number, if it is still the one that was noted."""
    if pid == os.getpid():
        return None
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(process.create_time() - begun) < 1 else None
    except psutil.NoSuchProcess:
        return None
