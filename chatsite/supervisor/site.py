"""The processes of a site on one machine, in the order in which they start.

Redis (unless REDIS_URL names one), the light worker and its beat, the inference worker, Daphne.
They stop together, Redis last. A process that dies is started again, after a
longer wait each time. pidfile.py makes sure that only one supervisor uses the data folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chatsite.private_files import close_files
from chatsite.supervisor import pidfile
from chatsite.supervisor.child_process import ChildProcess, LogPrinter, kill_group
from chatsite.supervisor.pidfile import CannotStart
from chatsite.supervisor.preflight import (
    MAX_SOCKET_PATH,
    check_disk,
    check_model,
    check_port,
    check_redis,
    redis_binary,
)
from inference import client

CELERY = [sys.executable, "-m", "celery", "--quiet"]
FORK_SERVER = [sys.executable, "-m", "inference.worker.fork_server", "--quiet"]
WORKER = FORK_SERVER if sys.platform == "linux" else CELERY
REDIS_URL_FILE = "redis_url"  # settings.py reads it
STOP_TOGETHER = (("daphne", "worker", "beat", "web"), ("redis",))
STOP_S = 3.0  # workers give back what they run, pages connect again later; then they are killed
TURN_S = 0.1
PATIENCE_S = 180.0  # kernels are built and a large model is read; then the URL is printed anyway
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """Where and what to run; from settings and environment (docs/configuration.md)."""

    data: Path
    host: str
    port: int
    model: str
    redis_url: str | None
    public_url: str = ""  # the address of a proxy in front of the site
    concurrency: int = 160  # Celery tasks at once; the engine has its own limits

    @property
    def url(self) -> str:
        """Where people find the site."""
        if self.public_url:
            return self.public_url.rstrip("/") + "/"
        is_here = self.host in (*EVERYWHERE, "127.0.0.1", "::1")
        return self._url("localhost" if is_here else self.host)

    @property
    def own_url(self) -> str:
        """Where this machine reaches it."""
        return self._url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))

    @property
    def run(self) -> Path:
        """The folder of lock, process list and schedule."""
        return self.data / "run"

    def _url(self, host: str) -> str:
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


class Site:
    """Starts, watches and stops the children."""

    def __init__(self, options: SiteOptions) -> None:
        self.options = options
        self.log = LogPrinter()
        self.children: list[ChildProcess] = []
        self.redis_url = options.redis_url or ""
        self._temporary: Path | None = None
        self._stopping = False
        self._recorded: list[int] = []

    def run(self, prepare: Callable[[], str]) -> None:
        """Start all, print the URL once the site is usable, watch until a signal ends it.

        `prepare` is called when Redis is there; it returns lines to print below the URL. Raises
        CannotStart when something is missing; nothing is left running then.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_stop_signal)
        check_disk(self.options.data)
        if num_open := close_files(self.options.data):
            self.log("up", f"others could read {num_open} files of {self.options.data}: closed")
        lock = pidfile.acquire_lock(self.options.run)
        try:
            pidfile.stop_recorded(self.options.run)
            check_port(self.options.host, self.options.port)
            check_model(self.options.model)
            self._start_redis()
            beside = prepare()
            for child in self._site_children():
                if not self._stopping:
                    self._start(child)
            self._watch(beside)
        finally:
            self.stop()
            lock.close()

    def stop(self) -> None:
        """Stop all, last started first, and leave nothing behind."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError):  # not in the main thread, as in a test
                signal.signal(number, signal.SIG_IGN)
        for names in STOP_TOGETHER:
            together = [child for child in self.children if child.name in names]
            for child in together:
                child.request_stop()
            deadline = time.monotonic() + STOP_S
            for child in together:
                child.stop(deadline - time.monotonic())
        self.children.clear()
        pidfile.remove_pids(self.options.run)
        (self.options.run / REDIS_URL_FILE).unlink(missing_ok=True)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    # --- parts -----------------------------------------------------------------------------------

    def _start_redis(self) -> None:
        if self.redis_url:
            check_redis(self.redis_url)
            return
        folder = self.options.data / "redis"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "redis.sock"
        if len(str(path)) > MAX_SOCKET_PATH:
            self._temporary = Path(tempfile.mkdtemp(prefix="chatsite-"))
            path = self._temporary / "redis.sock"
        url = f"unix://{path}?db=0"
        command = [
            redis_binary(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
            "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec",
            "--save", "", "--loglevel", "warning",
        ]  # fmt: skip
        child = self._start(self._child("redis", command))
        deadline = time.monotonic() + 20
        while True:
            try:
                check_redis(url)
                break
            except CannotStart as error:
                if child.has_died() or time.monotonic() > deadline:
                    raise CannotStart(f"The site's own Redis doesn't start: {error}") from None
                time.sleep(0.05)
        self.redis_url = os.environ["REDIS_URL"] = url
        with suppress(OSError):  # for commands that are run beside the site
            (self.options.run / REDIS_URL_FILE).write_text(url)

    def _site_children(self) -> list[ChildProcess]:
        run, o = self.options.data / "run", self.options
        web = [*CELERY, "-A", "chatsite.celery"]
        quiet = ["--without-gossip", "--without-mingle", "-l", "WARNING"]
        return [
            self._child("web", [*web, "worker", "--pool=threads", "--concurrency=4", "-Q", "web",
                                "-n", "web@%h", *quiet]),
            self._child("beat", [*web, "beat", "-l", "WARNING", "-s", str(run / "beat"),
                                 "--pidfile", ""]),
            self._child("worker", [*WORKER, "-A", "inference.worker", "worker", "--pool=threads",
                                   f"--concurrency={o.concurrency}", "-Q", f"model.{o.model}",
                                   "-n", "slot1@%h", "--without-gossip", "--without-mingle",
                                   "-l", "INFO"]),
            self._child("daphne", [sys.executable, "-m", "daphne", "-b", o.host, "-p", str(o.port),
                                   "-v", "0", "--no-server-name",
                                   "--ping-interval", "20", "--ping-timeout", "30",
                                   "--application-close-timeout", "5",
                                   "chatsite.asgi:application"]),
        ]  # fmt: skip

    def _child(self, name: str, command: list[str]) -> ChildProcess:
        environment = os.environ | {
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore::UserWarning:celery.platforms",  # that it runs as root
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
            "CHATSITE_MODEL": self.options.model,
            "CHATSITE_DATA": str(self.options.data),
        }
        if self.redis_url:
            environment["REDIS_URL"] = self.redis_url
        return ChildProcess(name, command, environment, log=self.log)

    def _start(self, child: ChildProcess) -> ChildProcess:
        child.start()
        self.children.append(child)
        self._record()
        return child

    def _record(self) -> None:
        """Record which processes run, if that has changed. On a full disk the old record stays.

        It is only needed after this process was killed, and names most of them even then.
        """
        running = [os.getpid(), *(pid for child in self.children for pid in child.pids)]
        if running == self._recorded:
            return
        self._recorded = running
        try:
            pidfile.write_pids(self.options.run, running)
        except OSError as error:
            self.log("up", f"the list of processes can't be written: {error.strerror}")

    def _watch(self, beside: str) -> None:
        """Watch the children until a signal comes. No error in here may end the site."""
        announced, started = False, time.monotonic()
        while not self._stopping:
            try:
                announced = announced or self._announce(beside, time.monotonic() - started)
                for child in self.children:
                    self._look_after(child)
                self._record()
            except Exception as error:
                self.log("up", f"{type(error).__name__}: {error}")
                time.sleep(1)
            time.sleep(TURN_S)
        self.log("up", "stopping")

    def _announce(self, beside: str, waited_s: float) -> bool:
        """Print the URL, once the site can be used."""
        caveat = self._usable(waited_s)
        if caveat is None:
            return False
        for line in (f"chatsite is at {self.options.url}", caveat, *beside.splitlines()):
            if line:
                self.log("up", line)
        return True

    def _look_after(self, child: ChildProcess) -> None:
        """Restart a child that has died, once its waiting time is over."""
        if child.has_died():
            assert child.process is not None
            kill_group(child.process.pid)
            code = child.process.returncode
            wait_s = child.plan_restart()
            self.log("up", f"{child.name} ended with {code}; starting it again in {wait_s:g} s")
        elif child.process is None and time.monotonic() >= child.restart_at:
            try:
                child.start()
            except OSError as error:  # no memory, or no process more
                wait_s = child.plan_restart()
                text = f"{child.name} can't be started ({error.strerror}); again in {wait_s:g} s"
                self.log("up", text)

    def _usable(self, waited_s: float) -> str | None:
        """None while the site can't be used; "" when it can; else a warning to print."""
        if not self._answers():
            return None
        state, detail = self._worker_state()
        if state == "ready":
            return ""
        if state == "failed":
            return f"The model can't be served: {detail}"
        if waited_s > PATIENCE_S:
            return "The model is still being loaded; questions wait for it."
        return None

    def _worker_state(self) -> tuple[str, str]:
        """State and detail of the worker started here; Redis may hold an older one's too."""
        pids = {pid for child in self.children if child.name == "worker" for pid in child.pids}
        with suppress(client.RedisUnavailable):
            for worker in client.workers():
                if worker.pid in pids:
                    return worker.engine.state, worker.engine.state_detail
        return "", ""

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.options.own_url}healthz", timeout=1):
                return True
        except urllib.error.HTTPError:  # a host name that isn't allowed: still an answer
            return True
        except OSError:
            return False

    def _on_stop_signal(self, *_: object) -> None:
        self._stopping = True
