"""The processes of one split model: rank 0 is the engine's own, the others are its children.

transformers' tensor parallel plan gives each process a shard of every layer's heads and columns,
and sums their results inside the layers (gloo between CPU processes, NCCL between GPUs). Rank 0
schedules, samples and streams; each call of its backend (tp_backend.py) is sent to the other ranks
(rank_worker.py), over a socket each.

No rank worker outlives rank 0, however that ends: each reads a pipe that only rank 0 holds. Rank 0
checks them once per turn of its loop. A step that breaks anywhere leaves the ranks out of step, so
the engine then fails as a whole.

CUDA graphs are off: capturing a step with NCCL's sums in it has not been tried. On CUDA a sum whose
partner died waits on the device; the worker's watch over a hanging step ends it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from inference.engine.backends.base import Unsupported
from inference.engine.config import EngineConfig
from inference.engine.parallel.rank_worker import (
    check_splittable,
    join_group,
    load_shard,
    rank_device,
)

START_S = 120.0
"""How long a rank worker may take to come up: Python, torch, transformers, on a busy machine."""
END_S = 3.0
"""How long to wait for a rank worker to end by itself."""
PROGRAM = "from inference.engine.parallel.rank_worker import run_rank_worker; run_rank_worker()"


class RankLost(BaseException):
    """A process of a split model is gone or out of step; the text is for a person.

    Not an Exception: code that handles the failure of one request must let this one pass.
    """


class TPGroup:
    """The rank workers of rank 0, and the group they form with it. Raises Unsupported at start.

    One at a time in a process: torch.distributed knows one group of all.
    """

    def __init__(self, config: EngineConfig, *, dtype: str, device: torch.device) -> None:
        check_splittable(config, dtype=dtype, device=device)
        if dist.is_initialized():
            raise Unsupported("this process serves a model split by tensor_parallel already.")
        self.count = config.tensor_parallel
        self._children: list[subprocess.Popen[bytes]] = []
        self._conns: list[Connection] = []
        self._folder = tempfile.TemporaryDirectory(
            prefix="chatsite-ranks-", ignore_cleanup_errors=True
        )
        store = str(Path(self._folder.name) / "store")
        try:
            for _ in range(1, self.count):
                self._start_rank()
            for rank in range(1, self.count):
                self.recv(rank, timeout_s=START_S)
            for rank, conn in enumerate(self._conns, 1):
                conn.send((config, dtype, rank_device(device, rank), rank, store))
            join_group(store, rank=0, count=self.count, device=rank_device(device, 0))
        except BaseException:
            self.close()
            raise

    def load(self, path: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
        """Rank 0's shard of the model, once every other rank has its own."""
        model = load_shard(path, dtype, device)
        for rank in range(1, self.count):
            self.recv(rank)
        return model

    def send(self, call: str, *arguments: Any) -> None:
        """Have every other rank's backend make this call. Raises RankLost if one is gone."""
        try:
            for conn in self._conns:
                conn.send((call, arguments))
        except OSError as error:
            raise self.lost(error) from error

    def recv(self, rank: int, *, timeout_s: float | None = None) -> Any:
        """The next value that this rank sends. Raises Unsupported with its reason if it failed."""
        conn = self._conns[rank - 1]
        try:
            if not conn.poll(timeout_s):
                raise Unsupported(f"part {rank} of the model did not start in {timeout_s:.0f} s.")
            kind, value = conn.recv()
        except (EOFError, OSError) as error:
            raise Unsupported(self._end_of(rank)) from error
        if kind == "failed":
            raise Unsupported(f"part {rank} of {self.count} failed: {value}")
        return value

    def check(self) -> None:
        """Raise RankLost if a rank worker has ended."""
        for rank, child in enumerate(self._children, 1):
            if child.poll() is not None:
                raise RankLost(self._end_of(rank))

    def lost(self, error: Exception) -> RankLost:
        """Why a step failed here: the end of a rank worker if there was one, else the error."""
        # A broken sum may be noticed before the dead process that broke it.
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_S / self.count)
        try:
            self.check()
        except RankLost as lost:
            return lost
        return RankLost(f"a step failed in part 0 of {self.count}: {error!r}")

    def close(self) -> None:
        """End the rank workers and the group. May be called twice."""
        for conn, child in zip(self._conns, self._children, strict=True):
            conn.close()
            assert child.stdin is not None
            child.stdin.close()
        for child in self._children:
            try:
                child.wait(END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._children and dist.is_initialized():
            dist.destroy_process_group()
        self._conns, self._children = [], []
        self._folder.cleanup()

    def _start_rank(self) -> None:
        """Start the process of the next rank."""
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).parents[3])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        self._children.append(child)
        self._conns.append(Connection(ours.detach()))

    def _end_of(self, rank: int) -> str:
        """How a rank worker ended, by the reason that it sent where it sent one."""
        child, conn = self._children[rank - 1], self._conns[rank - 1]
        with contextlib.suppress(EOFError, OSError):
            while conn.poll():
                kind, value = conn.recv()
                if kind == "failed":
                    return f"part {rank} of {self.count} failed: {value}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(END_S)
        code = child.returncode
        if code is None:
            how = "doesn't answer any more"
        else:
            how = f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"
        return f"part {rank} of {self.count} of the model, process {child.pid}, {how}."
