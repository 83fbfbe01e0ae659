"""A real Celery worker with the real model, as a process that tests may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
MODEL = "smollm2-135m-instruct"


class Worker:
    """`celery -A inference.worker worker` in its own process group."""

    def __init__(
        self, log: Path, *, name: str = "slot1", concurrency: int = 80, **environment: str
    ) -> None:
        self.log = log
        self.name = name
        self._concurrency = concurrency
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Worker:
        """Start it; one that runs stays."""
        if self._process is not None:
            return self
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "celery", "-A", "inference.worker", "worker",
                "--pool=threads", f"--concurrency={self._concurrency}", "-Q", f"model.{MODEL}",
                "-n", f"{self.name}@test", "--without-mingle", "--without-gossip", "-l", "INFO",
            ],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "2"} | self._environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        return self

    def wait_ready(self, timeout_s: float = 180.0) -> Worker:
        """Until its snapshot says that its model is loaded."""
        from inference import client

        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the worker stopped:\n{self.log.read_text()[-3000:]}")
            if any(w.pid == self.pid and w.engine.state == "ready" for w in client.workers()):
                return self
            time.sleep(0.1)
        raise RuntimeError(f"the worker was not ready:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)
            self._process = None

    def signal(self, number: int) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def stop(self, timeout_s: float = 20.0) -> int | None:
        """SIGTERM, and its exit status."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self._process = None
            if self._output is not None:
                self._output.close()
        return status
