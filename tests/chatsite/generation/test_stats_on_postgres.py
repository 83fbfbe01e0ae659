"""The roll-ups' tests once more, on a PostgreSQL of their own.

Needs a server's programs (Debian: `apt install postgresql`) and psycopg (`pip install
chatsite[postgres]`). Without them it is skipped with a reason, and SQLite alone is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TESTS = "tests/chatsite/generation/test_stats_roll_up.py"


def programs() -> Path | None:
    """The folder of initdb and postgres, if there is one."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = [place for place in places if (place / "initdb").exists()]
    if found:
        return found[0]
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        programs() is None or find_spec("psycopg") is None,
        reason="no PostgreSQL server or no psycopg; apt install postgresql, chatsite[postgres]",
    ),
]


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A server of our own on a socket in a folder of its own. It refuses to run as root."""
    bin_ = programs()
    assert bin_ is not None
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        as_user: list[str] = []
        if os.geteuid() == 0:
            as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(folder, "nobody", "nogroup")
        data = folder / "data"
        subprocess.run(
            [*as_user, bin_ / "initdb", "-D", data, "-U", "chatsite", "-A", "trust", "-E", "UTF8"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        server = subprocess.Popen(
            [*as_user, bin_ / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=",
             "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        try:
            ready = [bin_ / "pg_isready", "-h", folder, "-t", "1"]
            for _ in range(60):
                if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
                    break
            yield f"postgres://chatsite@{str(folder).replace('/', '%2F')}/postgres"
        finally:
            server.terminate()
            server.wait(20)


def test_roll_ups_on_postgresql(postgres_url: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", TESTS],
        cwd=ROOT, env=os.environ | {"DATABASE_URL": postgres_url},
        capture_output=True, text=True, check=False, timeout=580,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
