"""One model split over N processes: rank 0 is the engine's own, the others are its children.

transformers' tensor parallel plan gives each process a share of every layer's heads and columns,
and sums their parts inside the layers (gloo between CPU processes, NCCL between GPUs). Rank 0
schedules, samples and streams; each call of its backend is also made by the followers (part.py),
who are told over a socket each.

No follower outlives rank 0, however that ends: each reads a pipe that only rank 0 holds. Rank 0
looks after them once per turn of its loop. A step that breaks anywhere leaves the parts out of
step, so the engine then fails as a whole.

CUDA graphs are off: capturing a step with NCCL's sums in it has not been tried. On CUDA a sum whose
partner died waits on the device; the worker's watch over a hanging step ends it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from inference.engine.backends.base import Backend, LayerSpec, StepBatch, Unsupported
from inference.engine.config import EngineConfig
from inference.engine.parallel.rank_worker import (
    join,
    load_share,
    part_device,
    refuse_unsplittable,
    to_host,
)
from inference.engine.sampling.torch_sampler import Draws

START_S = 120.0
"""How long a follower may take to come up: Python, torch and transformers, on a busy machine."""
END_S = 3.0
"""How long to wait for a follower to end by itself."""
FOLLOW = "from inference.engine.parallel.rank_worker import follow; follow()"


class PartLost(BaseException):
    """A process of a split model is gone or out of step; the text is for a person.

    Not an Exception: whoever handles the failure of one request must let this one pass.
    """


class Parts:
    """The followers of rank 0, and the group they form with it. Raises Unsupported at start.

    One at a time in a process: torch.distributed knows one group of all.
    """

    def __init__(self, config: EngineConfig, *, dtype: str, device: torch.device) -> None:
        refuse_unsplittable(config, dtype=dtype, device=device)
        if dist.is_initialized():
            raise Unsupported("this process serves a model split by tensor_parallel already.")
        self.count = config.tensor_parallel
        self._children: list[subprocess.Popen[bytes]] = []
        self._lines: list[Connection] = []
        self._folder = tempfile.TemporaryDirectory(
            prefix="chatsite-parts-", ignore_cleanup_errors=True
        )
        store = str(Path(self._folder.name) / "store")
        try:
            for _ in range(1, self.count):
                self._start_one()
            for rank in range(1, self.count):
                self.hear(rank, timeout_s=START_S)
            for rank, line in enumerate(self._lines, 1):
                line.send((config, dtype, part_device(device, rank), rank, store))
            join(store, rank=0, count=self.count, device=part_device(device, 0))
        except BaseException:
            self.close()
            raise

    def load(self, path: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
        """Rank 0's share of the model, once every follower has its own."""
        model = load_share(path, dtype, device)
        for rank in range(1, self.count):
            self.hear(rank)
        return model

    def tell(self, call: str, *arguments: Any) -> None:
        """Have every follower's backend make this call. Raises PartLost if one is gone."""
        try:
            for line in self._lines:
                line.send((call, arguments))
        except OSError as error:
            raise self.lost(error) from error

    def hear(self, rank: int, *, timeout_s: float | None = None) -> Any:
        """What that follower says next. Raises Unsupported with its reason if it failed."""
        line = self._lines[rank - 1]
        try:
            if not line.poll(timeout_s):
                raise Unsupported(f"part {rank} of the model did not start in {timeout_s:.0f} s.")
            kind, value = line.recv()
        except (EOFError, OSError) as error:
            raise Unsupported(self._end_of(rank)) from error
        if kind == "failed":
            raise Unsupported(f"part {rank} of {self.count} failed: {value}")
        return value

    def check(self) -> None:
        """Raise PartLost if a follower has ended."""
        for rank, child in enumerate(self._children, 1):
            if child.poll() is not None:
                raise PartLost(self._end_of(rank))

    def lost(self, error: Exception) -> PartLost:
        """Why a step failed here: a follower's end if there was one, else the error itself."""
        for child in self._children:  # a broken sum may be seen before the end that broke it
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_S / self.count)
        try:
            self.check()
        except PartLost as lost:
            return lost
        return PartLost(f"a step failed in part 0 of {self.count}: {error!r}")

    def close(self) -> None:
        """End the followers and the group. May be called twice."""
        for line, child in zip(self._lines, self._children, strict=True):
            line.close()
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
        self._lines, self._children = [], []
        self._folder.cleanup()

    def _start_one(self) -> None:
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).parents[3])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-c", FOLLOW, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        self._children.append(child)
        self._lines.append(Connection(ours.detach()))

    def _end_of(self, rank: int) -> str:
        """How a follower ended, by its own last words where it left some."""
        child, line = self._children[rank - 1], self._lines[rank - 1]
        with contextlib.suppress(EOFError, OSError):
            while line.poll():
                kind, value = line.recv()
                if kind == "failed":
                    return f"part {rank} of {self.count} failed: {value}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(END_S)
        code = child.returncode
        if code is None:
            how = "says nothing any more"
        else:
            how = f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"
        return f"part {rank} of {self.count} of the model, process {child.pid}, {how}."


class SplitBackend(Backend):
    """Rank 0's backend: calls that touch weights or pages are made by every part.

    Sizes are those of the whole model.
    """

    def __init__(self, inner: Backend, parts: Parts) -> None:
        self._inner, self._parts = inner, parts
        self.device, self.load_dtype, self.name = inner.device, inner.load_dtype, inner.name

    def prepare(self, model: nn.Module, layers: Sequence[LayerSpec]) -> nn.Module:
        inner, count = self._inner, self._parts.count
        self.model = inner.prepare(model, layers)
        self.layers = [
            dataclasses.replace(
                spec, query_heads=spec.query_heads * count, kv_heads=spec.kv_heads * count
            )
            for spec in layers
        ]
        self.block_tokens = inner.block_tokens
        for rank in range(1, count):
            if (tokens := self._parts.hear(rank)) != self.block_tokens:
                raise Unsupported(
                    f"part {rank} of {count} chose pages of {tokens} tokens, "
                    f"part 0 of {self.block_tokens}: their devices differ."
                )
        self.name = f"{inner.name}, split over {count} processes"
        self.notes = inner.notes
        if self.device.type == "cuda":
            self.notes += ("no CUDA graphs: steps of a split model are not captured",)
        return self.model

    def allocate_cache(self, num_blocks: int) -> int:
        self._parts.tell("allocate_cache", num_blocks)
        return self._inner.allocate_cache(num_blocks) * self._parts.count

    def cache_bytes_per_block(self) -> int:
        return self._inner.cache_bytes_per_block() * self._parts.count

    def clear_blocks(self, blocks: Sequence[int]) -> None:
        self._parts.tell("clear_blocks", list(blocks))
        self._inner.clear_blocks(blocks)

    def forward(self, batch: StepBatch) -> Tensor:
        """As Backend.forward. Raises PartLost: a step broken here leaves the others half-way."""
        try:
            self._parts.tell("forward", to_host(batch))
            return self._inner.forward(batch)
        except Exception as error:
            raise self._parts.lost(error) from error

    def attend(self, *_arguments: Any, **_how: Any) -> Tensor:
        raise NotImplementedError("the layers of a part attend through the part's own backend")

    def draws(self) -> Draws:
        return self._inner.draws()
