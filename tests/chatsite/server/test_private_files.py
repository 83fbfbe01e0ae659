"""The data folder is its owner's alone, also one that was made with other rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatsite.private_files import NotPrivate, close_files, keep_private

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_folder_with_open_files_is_closed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "redis").mkdir(parents=True)
    for name in ("db.sqlite3", "redis/appendonly.aof"):
        (data / name).write_text("")
    (data / "models").mkdir()
    (data / "models" / "config.json").write_text("")
    (tmp_path / "elsewhere").write_text("")
    (data / "link").symlink_to(tmp_path / "elsewhere")
    keep_private(data)
    assert close_files(data) == 3
    assert mode(data) == 0o700
    assert mode(data / "redis") == 0o700
    assert mode(data / "db.sqlite3") == mode(data / "redis/appendonly.aof") == 0o600
    assert mode(data / "models" / "config.json") == 0o644, "others may use the models"
    assert mode(tmp_path / "elsewhere") == 0o644, "a link is not followed"
    (data / "later").write_text("")
    assert mode(data / "later") == 0o600
    assert close_files(data) == 0


def test_a_folder_for_everybody_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    (shared / "somebody's").write_text("")
    shared.chmod(0o1777)
    with pytest.raises(NotPrivate, match="chmod 700"):
        keep_private(shared)
    assert mode(shared) == 0o777, "it is left as it was"


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, "manage.py", "migrate", "-v0"),
        (
            sys.executable,
            "-m",
            "inference.models.prepare",
            "--gguf",
            "pyproject.toml",
            "--slug",
            "x",
        ),
    ],
)
def test_what_make_up_runs_makes_nothing_that_others_can_read(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    data = tmp_path / "var"
    environment = os.environ | {
        "CHATSITE_DATA": str(data),
        "CHATSITE_MODELS": str(data / "models"),
    }
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60)
    assert data.is_dir()
    for path in [data, *data.rglob("*")]:
        assert not mode(path) & 0o077, path
