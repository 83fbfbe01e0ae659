"""`manage.py up` for real: it starts all, watches all, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]


class Up:
    """A site that `manage.py up` runs in a folder of its own."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.port = int(environment.get("PORT", 0)) or free_port()
        self.log = data / "up.log"
        self.environment = {k: v for k, v in os.environ.items() if k != "REDIS_URL"} | {
            "CHATSITE_DATA": str(data),
            "PORT": str(self.port),
        }
        self.environment |= environment
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def children(self) -> dict[str, psutil.Process]:
        """The noted processes that live, by what they are."""
        names = ("redis-server", "inference.worker", "beat", "chatsite.celery", "daphne")
        found = {}
        for pid, _ in json.loads((self.data / "run" / "up.json").read_text())[1:]:
            if psutil.pid_exists(pid):
                line = " ".join(psutil.Process(pid).cmdline())
                found[next((name for name in names if name in line), line)] = psutil.Process(pid)
        return found

    def answers(self, path: str = "/healthz") -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2):
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("not in time")
        time.sleep(0.1)


def run(data: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {k: v for k, v in os.environ.items() if k != "REDIS_URL"}
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=base | {"CHATSITE_DATA": str(data)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def site(tmp_path: Path, default_model_dir: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        made.process.wait(40)


def gone(processes: dict[str, psutil.Process]) -> list[str]:
    """Names of those that still live."""
    _, alive = psutil.wait_procs(list(processes.values()), timeout=25)
    return [name for name, process in processes.items() if process in alive]


def test_one_site_is_started_watched_and_stopped(site: Up) -> None:
    until(site.answers)
    until(lambda: "chatsite is at" in site.said)
    children = site.children()
    assert set(children) == {
        "redis-server",
        "inference.worker",
        "beat",
        "chatsite.celery",
        "daphne",
    }
    link = re.search(r"http\S+/accounts/invitation/\S+", site.said)
    assert link is not None, "the first administrator's link"
    first = urllib.request.urlopen(link.group().replace("localhost", "127.0.0.1"), timeout=5)
    assert first.status == 200

    again = run(site.data, "up", PORT=str(free_port()))
    assert again.returncode != 0
    assert "runs already" in again.stderr

    beat = children["beat"]
    beat.kill()
    until(lambda: "beat ended with" in site.said)
    until(lambda: site.children().get("beat", beat).pid != beat.pid)

    children = site.children()
    started = time.monotonic()
    assert run(site.data, "down").stdout.strip() == "The site is stopped."
    assert gone(children) == []
    assert site.process.wait(20) == 0
    assert time.monotonic() - started < 30
    assert not (site.data / "run" / "up.json").exists()
    assert run(site.data, "down").stdout.strip() == "Nothing was running."


def test_nothing_outlives_a_supervisor_that_was_killed(site: Up) -> None:
    until(site.answers)
    children = site.children()
    site.process.send_signal(signal.SIGKILL)
    site.process.wait(10)
    assert gone(children) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_also_while_it_starts(site: Up, number: int) -> None:
    until(lambda: (site.data / "run" / "up.json").exists() and "daphne" in site.children())
    children = site.children()
    site.process.send_signal(number)
    assert site.process.wait(40) == 0
    assert gone(children) == []


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(tmp_path, "up", PORT=str(port))
    assert done.returncode != 0
    assert f"Port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CHATSITE_MODEL": "no-such-model"}, "Make it with: make model"),
        ({"CHATSITE_MODEL": "../../etc"}, "isn't there"),
        ({"PORT": "99999"}, "PORT must lie between"),
        ({"PORT": "x"}, "PORT must be a whole number"),
        ({"SIGN_UP": "maybe"}, "SIGN_UP must be one of"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "No Redis answers at REDIS_URL"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    done = run(tmp_path, "up", **({"PORT": str(free_port())} | environment))
    assert done.returncode != 0
    assert sentence in done.stderr


def test_a_data_folder_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = run(blocked / "data", "up", PORT=str(free_port()))
    assert done.returncode != 0
    assert "data" in done.stderr


def test_a_backup_comes_back(tmp_path: Path) -> None:
    assert run(tmp_path, "migrate", "-v0").returncode == 0
    make = "from chatsite.accounts.models import User; User.objects.create_user('kept')"
    assert run(tmp_path, "shell", "-c", make).returncode == 0
    file = tmp_path / "backup.tar.gz"
    assert run(tmp_path, "backup", str(file)).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    lose = "from chatsite.accounts.models import User; User.objects.all().delete()"
    run(tmp_path, "shell", "-c", lose)
    assert run(tmp_path, "restore", str(file)).returncode == 0
    count = "from chatsite.accounts.models import User; print('n =', User.objects.count())"
    assert "n = 1" in run(tmp_path, "shell", "-c", count).stdout
