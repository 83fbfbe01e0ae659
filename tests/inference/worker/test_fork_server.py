"""A fork server with workers of a few lines: who serves, who waits, and who comes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.worker.fork_server import FORKED
from tests.support.requests import until

ROOT = Path(__file__).resolve().parents[3]

SERVER = """
    import os, signal, sys, time
    from inference.worker import fork_server, standby

    fork_server.STANDBY_AFTER_S = 0.1
    fork_server.LOOK_S = 0.05

    def worker(line, stands_by):
        if "fails" in sys.argv:
            os._exit(1)
        standby.connect(line, stands_by=stands_by)
        def serve():
            fork_server.say(f"{os.getpid()} serves")
        standby.begin(is_ready=lambda: True, take_over=serve)
        if not stands_by:
            serve()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        while True:
            time.sleep(1)

    sys.exit(fork_server.ForkServer(worker, may_stand_by=lambda pid: "alone" not in sys.argv).serve())
"""


class Server:
    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(SERVER), *arguments], cwd=ROOT, stdout=output
            )

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def serving(self) -> list[int]:
        """The processes that served, one after the other."""
        return [int(line.removeprefix(FORKED)) for line in self.lines if line.startswith(FORKED)]

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill_the_serving_one(self) -> int:
        """The pid of the next one."""
        number = len(self.serving())
        os.kill(self.serving()[-1], signal.SIGKILL)
        until(lambda: len(self.serving()) > number, timeout_s=20, what="a successor")
        return self.serving()[-1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "log")
    until(lambda: len(made.children()) == 2, timeout_s=30, what="a worker on standby")
    yield made
    made.process.kill()
    made.process.wait(5)


def test_the_one_on_standby_takes_over_and_another_one_waits(server: Server) -> None:
    first, standby = server.children()
    assert server.serving() == [first]
    assert server.kill_the_serving_one() == standby
    until(lambda: f"{standby} serves" in server.lines, what="it was told")
    until(lambda: len(server.children()) == 2, what="another one on standby")
    assert server.kill_the_serving_one() not in (first, standby)


def test_a_standby_that_dies_is_replaced_and_disturbs_nobody(server: Server) -> None:
    first, standby = server.children()
    os.kill(standby, signal.SIGKILL)
    until(lambda: len(server.children()) == 2 and standby not in server.children())
    assert server.serving() == [first]


def test_without_room_for_two_the_next_one_is_forked_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", "alone")
    try:
        until(lambda: bool(server.serving()), timeout_s=30, what="a worker")
        killed_at = time.monotonic()
        until(lambda: f"{server.kill_the_serving_one()} serves" in server.lines, what="it serves")
        assert time.monotonic() - killed_at < 5
        assert len(server.children()) == 1
    finally:
        server.process.kill()
        server.process.wait(5)


def test_sigterm_ends_both_and_is_the_end(server: Server) -> None:
    children = server.children()
    server.process.terminate()
    assert server.process.wait(10) == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), what="both gone")


def test_none_outlives_the_server(server: Server) -> None:
    children = server.children()
    server.process.kill()
    server.process.wait(5)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), what="both gone")


def test_a_worker_that_can_not_start_ends_the_server_with_its_status(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", "fails")
    assert server.process.wait(30) == 1


@pytest.mark.slow
def test_what_the_server_imports_for_its_workers_starts_no_thread() -> None:
    """Else it can't be forked, and there is nobody on standby."""
    code = (
        "from inference.worker import fork_server as server\n"
        "from inference.worker.worker_config import WorkerSettings\n"
        "server.preload(WorkerSettings.from_env().model)\n"
        "print(server.can_fork())"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.stdout.strip() == "True", done.stderr[-2000:]
