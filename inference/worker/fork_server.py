"""Starts workers from a process that has torch loaded, and keeps a second one on standby.

    python -m inference.worker.fork_server -A inference.worker worker --pool=threads …

Importing torch and transformers is most of a worker's start. This process does it once, before it
forks: a worker is its child, shares that memory with it, and has only Celery and the weights left
to load, which the page cache holds. Where memory allows, a second worker loads the same model and
waits (standby.py): when the first one dies, it goes on with its answers at once, and another one is
forked to wait in its place. So a machine needs no second worker for an answer to survive the first.

It never runs an operation of torch and starts no thread, so that a fork is a copy of all there is.
Whatever wants to know which process serves reads the line that begins with FORKED.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inference.models.preload import import_class_of
from inference.worker import standby
from inference.worker.standby import TAKE_OVER
from inference.worker.worker_config import WorkerSettings

FORKED = "@forked "
PRELOADED = (
    "celery.bin.worker",
    "celery.apps.worker",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "inference.worker.app",
    "inference.worker.lifecycle",
    "inference.engine.engine",
    "inference.engine.backend_choice",
    "inference.engine.native.dtype_choice",
    "inference.engine.native.native_backend",
    "transformers",
)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
QUICK_DEATH_S = 10.0
PATIENT_AFTER = 4
"""After so many workers in a row that didn't live long, the next one has to wait."""
PAUSE_S = 5.0
STANDBY_AFTER_S = 3.0
"""How long a worker serves before its standby is forked: recovering lost requests comes first."""
MAX_STANDBY_DEATHS = 3
"""After so many deaths no standby is forked any more: a second model has no room here."""
LOOK_S = 0.5
RESTARTABLE = 70  # heartbeat.EXIT_ENGINE_DEAD
PR_SET_PDEATHSIG = 1
ARG_START = 45  # fields of /proc/self/stat behind the name, from 0


@dataclass(slots=True)
class ForkedWorker:
    """A child: the one that serves, or the one that waits to."""

    pid: int
    line: socket.socket  # standby.py speaks at the other end
    begun: float  # when it was forked, or took over
    ready_since: float | None = None

    def look(self) -> None:
        """Note whether it has told that its model is loaded."""
        with suppress(BlockingIOError, ConnectionError):
            if self.line.recv(16) and self.ready_since is None:
                self.ready_since = time.monotonic()


class ForkServer:
    """Keeps a worker running, and one on standby while `may_stand_by` says yes.

    `run` is the worker: it is given its end of the line to here, and whether it stands by.
    """

    def __init__(
        self,
        run: Callable[[socket.socket, bool], None],
        *,
        may_stand_by: Callable[[int], bool] = lambda pid: False,
    ) -> None:
        self._run = run
        self._may_stand_by = may_stand_by
        self._serving: ForkedWorker | None = None
        self._standby: ForkedWorker | None = None
        self._is_stopping = False
        self._quick_deaths = 0
        self._standby_deaths = 0

    def serve(self) -> int:
        """Until SIGTERM, which is sent on, or a worker that can't start. Never returns in a worker.

        Returns the exit status of the worker that served, negative for a signal.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        self._serve_with(self._fork(stands_by=False))
        while True:
            self._wait()
            code = self._reap()
            if code is not None:
                return code
            self._look_for_standby()

    def _wait(self) -> None:
        """Wait until a worker sends something or dies, which closes its socket; half a second at
        most.
        """
        lines = [worker.line for worker in (self._serving, self._standby) if worker]
        said, _, _ = select.select(lines, [], [], LOOK_S)
        for worker in (self._serving, self._standby):
            if worker is not None and worker.line in said:
                worker.look()
        if said:
            time.sleep(0.01)  # a line that has ended is readable until its process is reaped

    def _reap(self) -> int | None:
        """Replace a worker that died. Returns its exit status if it isn't replaced."""
        if self._standby is not None and _exit_code(self._standby.pid) is not None:
            self._standby.line.close()
            self._standby = None
            self._standby_deaths += 1
        serving = self._serving
        assert serving is not None
        code = _exit_code(serving.pid)
        if code is None:
            return None
        serving.line.close()
        if self._is_stopping:
            return self._end_standby(code)
        lived_s = time.monotonic() - serving.begun
        if lived_s < QUICK_DEATH_S and code > 0 and code != RESTARTABLE:
            return self._end_standby(code)  # a setting that can't be used: the text is in the log
        self._quick_deaths = self._quick_deaths + 1 if lived_s < QUICK_DEATH_S else 0
        say(f"the worker ended with {code}; another one takes over")
        if self._standby is not None:
            taking_over, self._standby = self._standby, None
            with suppress(OSError):  # it has died too: the next look finds that
                taking_over.line.send(TAKE_OVER)
        else:
            if self._quick_deaths >= PATIENT_AFTER:
                time.sleep(PAUSE_S)
                if self._is_stopping:
                    return code
            taking_over = self._fork(stands_by=False)
        self._serve_with(taking_over)
        return None

    def _serve_with(self, worker: ForkedWorker) -> None:
        worker.begun = time.monotonic()
        self._serving = worker
        say(f"{FORKED}{worker.pid}")

    def _look_for_standby(self) -> None:
        serving = self._serving
        if self._standby is not None or serving is None or serving.ready_since is None:
            return
        if self._standby_deaths >= MAX_STANDBY_DEATHS:
            return
        now = time.monotonic()
        is_time = now - max(serving.ready_since, serving.begun) > STANDBY_AFTER_S
        if is_time and not self._is_stopping and self._may_stand_by(serving.pid):
            self._standby = self._fork(stands_by=True)

    def _end_standby(self, code: int) -> int:
        if self._standby is not None:
            with suppress(ProcessLookupError):
                os.kill(self._standby.pid, signal.SIGKILL)  # it holds nobody's answer
                os.waitpid(self._standby.pid, 0)
        return code

    def _fork(self, *, stands_by: bool) -> ForkedWorker:
        """Fork a worker. Signals are held back until it is clear which of the two processes they
        are for.
        """
        parent = os.getpid()
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        pid = os.fork()
        if pid == 0:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            _die_with(parent)
            ours.close()
            for other in (self._serving, self._standby):
                if other is not None:
                    other.line.close()
            self._run(theirs, stands_by)
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        theirs.close()
        ours.setblocking(False)
        return ForkedWorker(pid, ours, time.monotonic())

    def _stop(self, number: int, _frame: object) -> None:
        self._is_stopping = True
        if self._serving is not None:
            with suppress(ProcessLookupError):
                os.kill(self._serving.pid, number)


def _exit_code(pid: int) -> int | None:
    """Negative for a signal; None while it lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def has_room_for_another(pid: int) -> bool:
    """Whether memory would hold a second worker like this one, and half as much again.

    What its cgroup allows counts too, where there is a limit.
    """
    import psutil

    with suppress(psutil.Error):
        needed = 1.5 * psutil.Process(pid).memory_full_info().uss
        free = min(psutil.virtual_memory().available, _cgroup_room())
        return bool(free > needed)
    return False


def _cgroup_room() -> float:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())
        return limit - int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no cgroup of its own, or no limit ("max")
        return math.inf


def say(line: str) -> None:
    """Print a line for the supervisor, which puts the name of the process before it."""
    with suppress(OSError):  # nobody reads, or the disk is full
        os.write(1, f"{line}\n".encode())  # at once: the worker writes to the same pipe


def preload(model: str) -> None:
    """Import what a worker needs, down to the class of its model.

    An import that fails here fails again in the worker, which reports it.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    with suppress(Exception):
        import_class_of(model)
    gc.collect()
    gc.freeze()  # a collection in the worker would write to, and so copy, every page


def can_fork() -> bool:
    """Whether nothing here would be lost or broken in a copy: no other thread, no open GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return False
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def run_celery(arguments: list[str]) -> None:
    """Be the worker, as `celery` with these arguments. Ends the process, or raises SystemExit."""
    from celery.__main__ import main as celery

    set_title([sys.executable, "-m", "celery", *arguments])
    sys.argv = ["celery", *arguments]
    celery()


def set_title(arguments: list[str]) -> None:
    """Show this command line in process lists, cut to the length of the old one."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[ARG_START]), int(fields[ARG_START + 1])
        text = "\0".join(arguments).encode()[: end - start - 1]
        ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def _die_with(parent: int) -> None:
    """SIGTERM when the process that forked us goes, however it goes (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM. Where this process can't be forked, it becomes the worker itself."""
    settings = WorkerSettings.from_env()
    set_title([sys.executable, "-m", "fork_server"])
    began = time.monotonic()
    preload(settings.model)
    if not can_fork():
        say("this process has threads that a fork would lose; a killed worker starts slowly")
        run_celery(arguments)
        return 0
    say(f"torch is loaded ({time.monotonic() - began:.1f} s); workers are forked from here")

    def run(line: socket.socket, stands_by: bool) -> None:
        standby.connect(line, stands_by=stands_by)
        run_celery(arguments)

    return ForkServer(run, may_stand_by=_standby_rule(settings)).serve()


def _standby_rule(settings: WorkerSettings) -> Callable[[int], bool]:
    """CHATSITE_STANDBY; `auto`: a second copy of the model on a CPU with room for it."""
    if settings.standby == "auto":
        is_cpu = settings.device in ("auto", "cpu") and not _has_gpu()
        return has_room_for_another if is_cpu and settings.tensor_parallel == 1 else _no
    return _yes if settings.standby == "loaded" else _no


def _yes(_pid: int) -> bool:
    return True


def _no(_pid: int) -> bool:
    return False


def _has_gpu() -> bool:
    """Without touching it: a process that has opened a GPU can't be forked."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)  # torch takes a second to take down
