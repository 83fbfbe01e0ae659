"""An engine's process as bench/engine.py sees it: started, asked, and stopped between its turns.

Speaks protocol.py with the script in the process. Knows nothing of figures.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inference.command.closed_loop import Batch, StreamResult
from inference.command.session import print_status

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "bench" / "peers"


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine of the comparison: how its process is started. `environment` "" is our own."""

    name: str
    environment: str
    command: tuple[str, ...]

    @property
    def python(self) -> Path:
        folder = ROOT / ".venvs" / self.environment if self.environment else Path(sys.prefix)
        return folder / "bin" / "python"


class Peer:
    """A running engine. Stopped between its turns, so that it costs the others nothing."""

    def __init__(self, entry: Entry, log: Path) -> None:
        self.name = entry.name
        script, *arguments = entry.command
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [entry.python, PEERS / script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        begin = time.monotonic()
        self.version = str(json.loads(self._line())["name"])
        print_status(f"{self.name}: {self.version}, ready in {time.monotonic() - begin:.0f} s")

    def batch(self, prompts: list[list[int]], max_tokens: int) -> Batch:
        """Ask these prompts at once."""
        assert self._process.stdin is not None
        print(json.dumps({"prompts": prompts, "max_tokens": max_tokens}), file=self._process.stdin)
        self._process.stdin.flush()
        answers = json.loads(self._line())
        return [
            StreamResult(len(prompt), *answer)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def settle(self, prompts: list[list[int]], streams: int) -> None:
        """Run what a first batch costs more, narrow and wide, then stop until the first turn."""
        self.batch(prompts[:1], 4)
        self.batch((prompts * streams)[:streams], 4)
        self._signal(signal.SIGSTOP)

    @contextlib.contextmanager
    def turn(self, warm_up: list[int]) -> Iterator[None]:
        """Let it run, after a short batch that brings its weights back into the caches."""
        self._signal(signal.SIGCONT)
        try:
            self.batch([warm_up], 4)
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def close(self) -> None:
        self._signal(signal.SIGCONT)
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended; its output is in {self._log.name}")
        return line

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _die_with_parent() -> None:
    """In the child: a stopped engine must not outlive a bench that was killed (Linux)."""
    pr_set_pdeathsig = 1
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
