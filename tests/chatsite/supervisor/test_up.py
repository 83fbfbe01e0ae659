"""`manage.py up` for real: it starts all, watches all, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from tests.support.frames import new_ids

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow


READY = {
    "status": "ready",
    "missing": [],
    "checks": {"database": "ok", "redis": "ok", "disk": "ok", "worker": "ok"},
}


class Up:
    """A site that `manage.py up` runs in a folder of its own."""

    def __init__(self, data: Path, *, log_folder: Path | None = None, **environment: str) -> None:
        self.data = data
        self.port = int(environment.get("PORT", 0)) or free_port()
        self.url = f"http://localhost:{self.port}"
        self.log = (log_folder or data) / f"up-{self.port}.log"
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
        names = (
            "redis-server", "inference.worker", "fork_server", "beat", "chatsite.celery", "daphne",
        )  # fmt: skip
        found = {}
        for pid, _ in json.loads((self.data / "run" / "up.json").read_text())[1:]:
            if psutil.pid_exists(pid):
                line = " ".join(psutil.Process(pid).cmdline())
                found[next((name for name in names if name in line), line)] = psutil.Process(pid)
        return found

    def is_usable(self) -> bool:
        return f"chatsite is at {self.url}/" in self.said

    def answers(self, path: str = "/healthz") -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2):
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    def read(self, path: str) -> object:
        """The JSON of that path, whatever its status; a busy machine may take its time."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            return json.load(error)


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
    yield from started(tmp_path)


@pytest.fixture(scope="module")
def calm_site(tmp_path_factory: pytest.TempPathFactory, default_model_dir: Path) -> Iterator[Up]:
    """A site that the first tests share; the last of them stops it."""
    yield from started(tmp_path_factory.mktemp("calm"))


def started(data: Path) -> Iterator[Up]:
    made = Up(data)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        made.process.wait(40)


def gone(processes: dict[str, psutil.Process]) -> list[str]:
    """Names of those that still live."""
    _, alive = psutil.wait_procs(list(processes.values()), timeout=25)
    return [name for name, process in processes.items() if process in alive]


def test_the_data_folder_is_closed_to_other_users(calm_site: Up) -> None:
    site = calm_site
    until(lambda: (site.data / "run" / "up.json").exists() and "daphne" in site.children())
    found = [site.data, *site.data.rglob("*")]
    open_ones = [path for path in found if path != site.log and path.lstat().st_mode & 0o077]
    assert open_ones == []
    asked = run(site.data, "shell", "--no-imports", "-c", "from inference import client as c;"
                "c.write_probe(); print('wrote')")  # fmt: skip
    assert "wrote" in asked.stdout, asked.stderr


def test_one_site_is_started_watched_and_stopped(calm_site: Up) -> None:
    site = calm_site
    until(site.is_usable)
    assert site.read("/readyz") == READY, "the URL is said when all is there"
    children = site.children()
    assert set(children) == {
        "redis-server",
        "inference.worker",
        "fork_server",
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

    for name in ("beat", "redis-server"):
        old = children[name]
        old.kill()
        until(lambda: f"{name.split('-')[0]} ended with -9; starting it again in" in site.said)  # noqa: B023
        until(lambda: site.children().get(name, old).pid != old.pid)  # noqa: B023
    until(lambda: site.answers("/readyz"))
    assert site.said.count("chatsite is at") == 1

    begin_answer(site, first_administrator(site), "Write a long story about a river.")
    children = site.children()
    started = time.monotonic()
    assert run(site.data, "down").stdout.strip() == "The site is stopped."
    assert gone(children) == []
    assert site.process.wait(20) == 0
    assert time.monotonic() - started < 10, "2 s on a quiet machine"
    assert "worker doesn't stop" not in site.said, "it gives its answers back and goes"
    assert not (site.data / "run" / "up.json").exists()
    assert run(site.data, "down").stdout.strip() == "Nothing was running."


SECRET_WORDS = "marmalade and zeppelins"


def test_a_supervisor_killed_in_mid_answer_leaves_no_process_and_loses_no_text(site: Up) -> None:
    until(site.is_usable)
    person = first_administrator(site)
    conversation, seen = begin_answer(site, person, f"Write a long story about {SECRET_WORDS}.")
    children = site.children()
    site.process.send_signal(signal.SIGKILL)
    site.process.wait(10)
    assert gone(children) == []
    assert "marmalade" not in site.said, "logs are silent about what people write"

    next_one = Up(site.data)
    try:
        until(next_one.is_usable)
        person.base_url = httpx.URL(next_one.url)
        until(lambda: answer_of(person, conversation)["state"] == "done")
        answer = answer_of(person, conversation)
        assert answer["finish_reason"] in ("stop", "length", "interrupted")
        assert answer["text"].startswith(seen)
        assert "marmalade" not in next_one.said
    finally:
        run(site.data, "down")
    assert next_one.process.wait(10) == 0


def first_administrator(site: Up) -> httpx.Client:
    """Signed in by the link that the first start printed."""
    link = re.search(r"http\S+/accounts/invitation/\S+", site.said)
    assert link is not None
    person = httpx.Client(base_url=site.url, follow_redirects=True)
    person.get(link.group())
    form = {
        "username": "dana",
        "password1": "a long pass phrase",
        "password2": "a long pass phrase",
        "csrfmiddlewaretoken": person.cookies["csrftoken"],
    }
    assert person.post(link.group(), data=form).url.path == "/"
    return person


def begin_answer(site: Up, person: httpx.Client, question: str) -> tuple[str, str]:
    """Ask; returns the conversation's id and the first words, while the others are written."""
    cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    url = site.url.replace("http", "ws") + "/ws/chat/"
    frame = {"type": "send", **new_ids("send"), "text": question}
    with connect(url, origin=site.url, additional_headers={"Cookie": cookies}) as socket:  # type: ignore[arg-type]
        socket.send(json.dumps(frame))
        conversation, text = "", ""
        while len(text) < 20:
            said = json.loads(socket.recv(timeout=30))
            if said["type"] == "accepted":
                conversation = said["conversation"]["id"]
            if said["type"] == "delta":
                text += said["text"]
    return conversation, text


def answer_of(person: httpx.Client, conversation: str) -> dict[str, Any]:
    return person.get(f"/conversations/{conversation}/").json()["messages"][-1]


def test_two_starts_at_once_make_one_site(tmp_path: Path, default_model_dir: Path) -> None:
    both = [Up(tmp_path), Up(tmp_path)]
    until(lambda: any(up.process.poll() is not None for up in both))
    (ended,) = (up for up in both if up.process.poll() is not None)
    (runs,) = (up for up in both if up is not ended)
    assert "runs already" in ended.said
    assert runs.process.poll() is None
    runs.process.terminate()
    assert runs.process.wait(40) == 0


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


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    options = ("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full))
    if os.geteuid() != 0 or subprocess.run(options, capture_output=True).returncode:
        pytest.skip("only root may make a small disk here")
    try:
        done = run(full, "up", PORT=str(free_port()))
        assert done.returncode != 0
        assert re.search(r"disk of \S+ is full: \d+ MB are free", done.stderr)
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(("umount", str(full)), check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder on a disk of 300 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ("mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(folder))
    if os.geteuid() != 0 or subprocess.run(options, capture_output=True).returncode:
        pytest.skip("only root may make a small disk here")
    yield folder
    subprocess.run(("umount", "-l", str(folder)), check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Write a file until so many bytes are free."""
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free
    with filler.open("ab") as file, suppress(OSError):
        for _ in range(0, max(0, free - leave), 1 << 20):
            file.write(bytes(1 << 20))
            file.flush()
    return filler


def refusal(site: Up, person: httpx.Client) -> str:
    """The code with which a question is refused; "" when it is taken."""
    cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    url = site.url.replace("http", "ws") + "/ws/chat/"
    with connect(url, origin=site.url, additional_headers={"Cookie": cookies}) as socket:  # type: ignore[arg-type]
        frame = {"type": "send", **new_ids("send"), "text": "Hello?"}
        socket.send(json.dumps(frame))
        is_told = False
        while True:
            said = json.loads(socket.recv(timeout=60))
            if said["type"] == "welcome" and said["is_disk_low"]:
                is_told = True
            if said["type"] == "error":
                assert is_told == (said["code"] == "disk_full"), "the page is told before"
                return str(said["code"])
            if said["type"] == "accepted":
                return ""


def disk_state(site: Up) -> str:
    reply = httpx.get(f"http://127.0.0.1:{site.port}/readyz", timeout=30)
    state: str = reply.json()["checks"]["disk"]
    assert state == "ok" or reply.status_code == 503
    return state


def test_a_site_outlives_a_full_disk_and_comes_back_by_itself(
    small_disk: Path, default_model_dir: Path
) -> None:
    log = small_disk.parent / "log"
    log.mkdir()
    site = Up(small_disk, log_folder=log)
    try:
        until(site.is_usable, timeout_s=180)
        person = first_administrator(site)
        conversation, _ = begin_answer(site, person, "Write a long story.")
        fill(small_disk, leave=80_000_000)  # below MIN_FREE_MB: questions end, the rest goes on
        assert disk_state(site) == "low"
        assert refusal(site, person) == "disk_full"
        assert person.get("/conversations/").status_code == 200
        filler = fill(small_disk, leave=0)
        assert shutil.disk_usage(small_disk).free < 1 << 20
        for name in ("beat", "chatsite.celery"):
            site.children()[name].kill()
        until(lambda: "beat ended with -9" in site.said)
        time.sleep(8)
        assert site.process.poll() is None, site.said[-2000:]
        assert person.get(f"/conversations/{conversation}/").status_code == 200
        assert refusal(site, person) == "disk_full"
        filler.unlink()
        until(lambda: disk_state(site) == "ok", timeout_s=90)
        until(lambda: site.answers("/readyz"), timeout_s=120)
        until(lambda: answer_of(person, conversation)["state"] == "done", timeout_s=120)
        until(lambda: refusal(site, person) == "", timeout_s=60)
    finally:
        run(small_disk, "down")
        site.process.wait(20)


def test_an_old_python_is_one_sentence() -> None:
    pretend = (
        "import sys, runpy; sys.version_info = (3, 9, 2, 'final', 0); "
        "runpy.run_path('scripts/check_python.py')"
    )
    done = subprocess.run(
        [sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13, and this is 3.9.2" in done.stderr
    assert "Traceback" not in done.stderr


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
