"""The README tells what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.chromium import NAMES

ROOT = Path(__file__).resolve().parent.parent
READ = re.compile(r"""(?:environ(?:\.get\(|\[)|env\.\w+\()\s*"([A-Z][A-Z_]+)\"""")
NOT_OURS = {"NO_COLOR", "PYTHONPATH", "CXX", "LOCAL_RANK"}


def test_every_environment_variable_is_in_the_readmes_table():
    sources = [*(ROOT / "chatsite").rglob("*.py"), *(ROOT / "inference").rglob("*.py")]
    read = {name for source in sources for name in READ.findall(source.read_text())}
    told = set(re.findall(r"`([A-Z][A-Z_]+)`", (ROOT / "README.md").read_text()))
    assert len(read) > 25
    assert read - NOT_OURS - told == set()


def test_every_picture_of_the_readme_is_there():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert [name for name in pictures if not (ROOT / name).is_file()] == []


def test_the_browser_tests_take_every_chromium_that_make_test_is_content_with() -> None:
    script = (ROOT / "deploy" / "ensure_chromium.sh").read_text()
    (names,) = re.findall(r"for name in ([\w -]+);", script)
    assert tuple(names.split()) == NAMES
