"""What docs/api.md shows is run as it stands, with this site's address and a real key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.support.stack import Stack

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()


def block(title: str, stack: Stack) -> str:
    """The first block of code below a heading."""
    found = re.search(rf"^## {title}\n+```\w*\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1].replace("http://localhost:8000", stack.url)


def test_the_curl_examples_run(stack: Stack, secret: str):
    stream, tokens = block("curl", stack).strip().split("\n\n")
    said = _run("bash", "-c", f"KEY={secret}\n{stream.replace('curl ', 'curl -sS ', 1)}")
    assert said.startswith("data: ")
    assert said.rstrip().endswith("data: [DONE]")
    reply = json.loads(
        _run("bash", "-c", f"KEY={secret}\n{tokens.replace('curl ', 'curl -sS ', 1)}")
    )
    assert reply["count"] == len(reply["tokens"]) == len(reply["token_strs"]) > 0


def test_the_python_example_runs(stack: Stack, secret: str):
    code = block("Python", stack)
    said = _run(sys.executable, "-c", f"KEY = {secret!r}\n{code}").strip().splitlines()
    assert len(said) >= 2
    assert "'ttft_ms'" in said[-1]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
