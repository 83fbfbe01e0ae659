"""The processes of a site on one machine, in the order in which they start.

Redis (unless REDIS_URL names one), the light worker and its beat, the inference worker, Daphne.
They stop in the reverse order, the workers at once. A child that dies is started again, later each
time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from chatsite.supervisor.checks import (
    MAX_SOCKET_PATH,
    CannotStart,
    check_disk,
    check_model,
    check_port,
    check_redis,
    redis_binary,
)
from chatsite.supervisor.child import Child, Printer, kill_group

CELERY = [sys.executable, "-m", "celery"]
TURN_S = 0.1


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """Where and what to run; from settings and environment (README.md)."""

    data: Path
    host: str
    port: int
    model: str
    redis_url: str | None
    concurrency: int = 160  # tasks that wait for the engine, which has its own bounds

    @property
    def url(self) -> str:
        host = "localhost" if self.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else self.host
        return f"http://{host}:{self.port}/"

    @property
    def pids(self) -> Path:
        return self.data / "run" / "up.json"


class Site:
    """Starts, watches and stops the children. `run` returns when told to stop by a signal."""

    def __init__(self, options: SiteOptions) -> None:
        self.options = options
        self.say = Printer()
        self.children: list[Child] = []
        self.redis_url = options.redis_url or ""
        self._stopping = False

    def prepare(self) -> None:
        """Check everything and start Redis. Raises CannotStart; nothing runs then."""
        check_disk(self.options.data)
        stop_leftovers(self.options.pids, running_is_an_error=True)
        check_port(self.options.host, self.options.port)
        check_model(self.options.model)
        if self.redis_url:
            check_redis(self.redis_url)
        else:
            self._start_redis()
        os.environ["REDIS_URL"] = self.redis_url

    def run(self, *, on_ready: str = "") -> None:
        """Start the rest, say the URL once it answers, watch until a signal comes."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._told_to_stop)
        try:
            for child in self._site_children():
                self._start(child)
            self._watch(on_ready)
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop all, last started first, and leave nothing behind."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError):  # not in the main thread, as in a test
                signal.signal(number, signal.SIG_IGN)
        for names in (("daphne",), ("worker", "beat", "web"), ("redis",)):
            together = [child for child in self.children if child.name in names]
            for child in together:
                child.tell_to_stop()
            for child in together:
                child.stop()
        self.children.clear()
        self.options.pids.unlink(missing_ok=True)

    # --- parts -----------------------------------------------------------------------------------

    def _start_redis(self) -> None:
        folder = self.options.data / "redis"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "redis.sock"
        if len(str(path)) > MAX_SOCKET_PATH:
            path = Path(tempfile.mkdtemp(prefix="chatsite-")) / "redis.sock"
        self.redis_url = f"unix://{path}?db=0"
        command = [
            redis_binary(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
            "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec",
            "--save", "", "--loglevel", "warning",
        ]  # fmt: skip
        child = self._start(self._child("redis", command))
        deadline = time.monotonic() + 20
        while True:
            try:
                check_redis(self.redis_url)
                return
            except CannotStart as error:
                if child.has_died() or time.monotonic() > deadline:
                    self.stop()
                    raise CannotStart(f"The site's own Redis doesn't start: {error}") from None
                time.sleep(0.05)

    def _site_children(self) -> list[Child]:
        run, o = self.options.data / "run", self.options
        web = [*CELERY, "-A", "chatsite.celery"]
        quiet = ["--without-gossip", "--without-mingle", "-l", "WARNING"]
        return [
            self._child("web", [*web, "worker", "--pool=threads", "--concurrency=4", "-Q", "web",
                                "-n", "web@%h", *quiet]),
            self._child("beat", [*web, "beat", "-l", "WARNING", "-s", str(run / "beat"),
                                 "--pidfile", ""]),
            self._child("worker", [*CELERY, "-A", "inference.worker", "worker", "--pool=threads",
                                   f"--concurrency={o.concurrency}", "-Q", f"model.{o.model}",
                                   "-n", "slot1@%h", "--without-gossip", "--without-mingle",
                                   "-l", "INFO"]),
            self._child("daphne", [sys.executable, "-m", "daphne", "-b", o.host, "-p", str(o.port),
                                   "-v", "0", "--ping-interval", "20", "--ping-timeout", "30",
                                   "--application-close-timeout", "5",
                                   "chatsite.asgi:application"]),
        ]  # fmt: skip

    def _child(self, name: str, command: list[str]) -> Child:
        environment = os.environ | {
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
            "CHATSITE_MODEL": self.options.model,
            "CHATSITE_DATA": str(self.options.data),
        }
        if self.redis_url:
            environment["REDIS_URL"] = self.redis_url
        return Child(name, command, environment, say=self.say)

    def _start(self, child: Child) -> Child:
        child.start()
        self.children.append(child)
        self._note_pids()
        return child

    def _note_pids(self) -> None:
        pids = [_identity(os.getpid())]
        pids += [_identity(c.process.pid) for c in self.children if c.process is not None]
        self.options.pids.parent.mkdir(parents=True, exist_ok=True)
        self.options.pids.write_text(json.dumps([p for p in pids if p]))

    def _watch(self, on_ready: str) -> None:
        is_said = False
        while not self._stopping:
            if not is_said and self._answers():
                is_said = True
                self.say("up", f"chatsite is at {self.options.url}")
                for line in on_ready.splitlines():
                    self.say("up", line)
            for child in self.children:
                if child.has_died():
                    assert child.process is not None
                    kill_group(child.process.pid)
                    code = child.process.returncode
                    wait_s = child.plan_restart()
                    self.say(
                        "up", f"{child.name} ended with {code}; starting it again in {wait_s:g} s"
                    )
                elif child.process is None and time.monotonic() >= child.restart_at:
                    child.start()
                    self._note_pids()
            time.sleep(TURN_S)
        self.say("up", "stopping")

    def _answers(self) -> bool:
        host = "127.0.0.1" if self.options.host in ("0.0.0.0", "127.0.0.1") else self.options.host
        host = "[::1]" if host in ("::", "::1") else host
        try:
            with urllib.request.urlopen(f"http://{host}:{self.options.port}/healthz", timeout=1):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _told_to_stop(self, *_: object) -> None:
        self._stopping = True


def stop_leftovers(pids: Path, *, running_is_an_error: bool = False, wait_s: float = 30.0) -> bool:
    """Stop a supervisor that runs with this data folder, or what a dead one left. True if any was.

    With `running_is_an_error` a living supervisor raises CannotStart instead.
    """
    try:
        noted = json.loads(pids.read_text())
    except (OSError, ValueError):
        return False
    processes = _alive(noted)
    if not processes:
        pids.unlink(missing_ok=True)
        return False
    supervisor = _same_process(*noted[0])
    if supervisor is not None and running_is_an_error:
        raise CannotStart("The site runs already with this data folder; stop it with: make down")
    for process in [supervisor] if supervisor is not None else processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + wait_s
    while _alive(noted) and time.monotonic() < deadline:
        time.sleep(TURN_S)
    for process in _alive(noted):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    pids.unlink(missing_ok=True)
    return True


def _alive(noted: list[tuple[int, float]]) -> list[psutil.Process]:
    return [p for pid, created in noted if (p := _same_process(pid, created))]


def _identity(pid: int) -> tuple[int, float] | None:
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def _same_process(pid: int, created: float) -> psutil.Process | None:
    """The process of that pid, if it is still the one that was noted and not a later one."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(process.create_time() - created) < 1 else None
    except psutil.NoSuchProcess:
        return None
