"""The whole site as processes: Redis, the model's worker, the light worker, Daphne. Real model.

    with Stack() as stack:
        httpx.get(stack.url + "/healthz")

Everything lives in a folder of its own; the model's folder alone is shared (CHATSITE_MODELS).
Processes are stopped by their ids, and what they said is kept in `stack.folder` until then.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from tests.support.redis import RedisServer

REPOSITORY = Path(__file__).resolve().parents[2]
SLUG = "smollm2-135m-instruct"
APP = "https://app.example.org"
"""A page of another site that may call the API of the stack that tests share."""
MODELS = Path(os.environ.get("CHATSITE_MODELS") or REPOSITORY / "var" / "models")


class Stack:
    """`environment` goes to every process. `url` is the site's; `folder` holds data and logs."""

    def __init__(
        self, *, environment: Mapping[str, str] | None = None, concurrency: int = 40
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stack-"))
        self.redis = RedisServer(self.folder / "redis")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.concurrency = concurrency
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._shell: subprocess.Popen[str] | None = None
        (self.folder / "data").mkdir()
        self.environment = {
            **os.environ,
            "CHATSITE_DATA": str(self.folder / "data"),
            "CHATSITE_MODELS": str(MODELS),
            "CHATSITE_MODEL": SLUG,
            "REDIS_URL": self.redis.url,
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
            "PYTHONPATH": str(REPOSITORY),
            "DEBUG": "0",
            "OMP_NUM_THREADS": str(os.cpu_count() or 1),
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        try:
            self.redis.start()
            self.start_worker()  # it takes longest, and needs no database
            self.manage("migrate", "--verbosity", "0")
            self.start_light_worker()
            self.start_web()
            self.wait_up()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- processes ---------------------------------------------------------------------------

    def start_worker(self) -> None:
        self._start(
            "worker",
            *("-m", "celery", "-A", "inference.worker", "worker", "--pool", "threads"),
            *("-Q", f"model.{SLUG}", "-n", f"test{self.port}@%h", "-c", str(self.concurrency)),
            *("--without-gossip", "--without-mingle", "--loglevel", "warning"),
        )

    def start_light_worker(self) -> None:
        schedule = str(self.folder / "beat")
        self._start(
            "light",
            *("-m", "celery", "-A", "chatsite", "worker", "--pool", "threads", "-Q", "web"),
            *("-B", "-s", schedule, "-n", f"web{self.port}@%h", "-c", "2"),
            *("--without-gossip", "--without-mingle", "--loglevel", "warning"),
        )

    def start_web(self) -> None:
        self._start(
            "web",
            *("-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "-v", "0"),
            "chatsite.asgi:application",
        )

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self, name: str, *, how: int = signal.SIGTERM, wait_s: float = 15) -> None:
        """End one process and wait until it is gone."""
        process = self.processes.pop(name)
        process.send_signal(how)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def stop(self) -> None:
        """Nobody looks any more: all are killed, and what they have started."""
        shell = [self._shell] if self._shell is not None else []
        for process in [*self.processes.values(), *shell]:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait(10)
        self.processes.clear()
        self._shell = None
        self.redis.stop()
        if keep := os.environ.get("STACK_LOGS"):
            shutil.copytree(self.folder, keep, dirs_exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- asking ------------------------------------------------------------------------------

    def manage(self, *arguments: str) -> str:
        """Run manage.py in the stack's environment; its output."""
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "manage.py"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def python(self, code: str) -> str:
        """Run Python inside the site's environment, with Django set up; what it prints.

        One process runs all of it, since setting Django up takes a second of CPU time.
        """
        if self._shell is None:
            self._shell = subprocess.Popen(
                [sys.executable, "-m", "tests.support.site_shell"],
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(json.dumps(code) + "\n")
        self._shell.stdin.flush()
        printed, problem = json.loads(self._shell.stdout.readline())
        if problem:
            raise RuntimeError(problem)
        return str(printed)

    def add_user(
        self, name: str, *, password: str = "a long pass phrase", staff: bool = False
    ) -> None:
        self.python(
            "from chatsite.accounts.models import User\n"
            f"User.objects.create_user({name!r}, password={password!r}, is_staff={staff},"
            f" is_superuser={staff})\n"
        )

    def api_key(self, user: str) -> str:
        return self.python(
            f"from django.core.management import call_command\ncall_command('apikey', {user!r})"
        ).strip()

    def row(self, request_id: str) -> dict[str, Any]:
        """The stored row of a request, once it has ended."""
        shown = self.python(
            "import time, json\n"
            "from chatsite.generation.models import Generation\n"
            "for _ in range(50):\n"
            f"    row = Generation.objects.filter(pk={request_id!r}).values().get()\n"
            "    if row['stored_at']: break\n"
            "    time.sleep(0.1)\n"
            "print(json.dumps(row, default=str))\n"
        )
        row: dict[str, Any] = json.loads(shown.strip().splitlines()[-1])
        return row

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_up(self, *, seconds: float = 30) -> None:
        """Until the web server answers."""
        self._wait("Daphne", lambda: self._is_up("/healthz"), seconds=seconds)

    def wait_ready(self, *, seconds: float = 180) -> None:
        """Until the worker has its model."""
        self._wait("the model", self._is_ready, seconds=seconds)

    def _is_up(self, path: str) -> bool:
        try:
            return httpx.get(self.url + path, timeout=5).status_code < 500
        except httpx.HTTPError:
            return False

    def _is_ready(self) -> bool:
        try:
            state = httpx.get(self.url + "/readyz", timeout=5).json()["checks"]["worker"]
        except (httpx.HTTPError, ValueError):
            return False
        if state == "failed":
            raise RuntimeError(f"the worker can't serve its model:\n{self.log('worker')[-3000:]}")
        return bool(state == "ok")

    def _wait(self, what: str, is_there: Callable[[], bool], *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_there():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended early:\n{self.log(name)[-3000:]}")
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {n}\n{self.log(n)[-1500:]}" for n in self.processes)
                raise RuntimeError(f"{what} was not there after {seconds} s:\n{logs}")
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
