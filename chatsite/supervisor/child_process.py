"""One process of the site: it can't outlive the supervisor, and its output gets a prefix."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
HEALTHY_AFTER_S = 30.0
ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork
COLOURS = {"redis": 31, "web": 32, "beat": 36, "worker": 35, "daphne": 34, "up": 0}
FORKED = "@forked "  # how inference.worker.fork_server says which process serves
NOISE = re.compile(r"it/s\]|^\s*$|WARNING Memory overcommit")


@dataclass
class ChildProcess:
    """A command that should run. Call `start` from the main thread: PR_SET_PDEATHSIG follows it."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    forked_pid: int | None = None  # of a worker that a fork server started, while that lives
    failures: int = 0
    restart_at: float = 0.0
    log: Callable[[str, str], None] = field(default=lambda name, line: None)

    def start(self) -> None:
        """Start it and read its output in a thread. Raises OSError when it can't be started."""
        self.forked_pid = None
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops in order
            preexec_fn=partial(_die_with_parent, LIBC, os.getpid()) if LIBC else None,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def has_died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def plan_restart(self) -> float:
        """Called when it has died: returns the seconds until the next start, longer each time."""
        if time.monotonic() - self.started_at > HEALTHY_AFTER_S:
            self.failures = 0
        wait_s = BACKOFF_S[min(self.failures, len(BACKOFF_S) - 1)]
        self.failures += 1
        self.restart_at = time.monotonic() + wait_s
        self.process = self.forked_pid = None
        return wait_s

    @property
    def pids(self) -> list[int]:
        """Of the process, and of the worker that it forked."""
        found = [] if self.process is None else [self.process.pid]
        return found if self.forked_pid is None else [*found, self.forked_pid]

    def request_stop(self) -> None:
        """Send SIGTERM, without waiting."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, wait_s: float) -> None:
        """Wait for it to stop, and SIGKILL when it doesn't go in time, with all that it started."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            self.process.wait(max(0.0, wait_s))
        except subprocess.TimeoutExpired:
            self.log("up", f"{self.name} doesn't stop; killing it")
        kill_group(self.process.pid)
        self.process.wait(5)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(FORKED):
                self.forked_pid = int(line.removeprefix(FORKED))
            elif not NOISE.search(line):
                self.log(self.name, line.rstrip())


def kill_group(pid: int) -> None:
    """SIGKILL the process and all that it started; nothing if they are gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _die_with_parent(libc: ctypes.CDLL, parent: int) -> None:
    """Ask the kernel for a SIGTERM when the supervisor goes, however it goes (Linux)."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


class LogPrinter:
    """Prints lines with their process's name, in colour on a terminal. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, name: str, line: str) -> None:
        prefix = f"{name:>7} │ "
        if self._coloured and (colour := COLOURS.get(name)):
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        # Whoever read the log is gone, or its disk is full: neither may end a process.
        with self._lock, suppress(OSError, ValueError):
            print(prefix + line, flush=True)
