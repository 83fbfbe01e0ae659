"""A decode step that is recorded once as a CUDA graph and replayed for every batch of its size.

A decode step of a small model is hundreds of kernel launches; replaying them as one graph takes the
host out of the step. Which sizes are captured, and when, is the backend's (cuda_backend.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.engine.backends.step_batch import StepBatch, StepCache
from inference.engine.backends.torch_backend import TorchBackend


class CapturedDecode:
    """One decode step of `rows` sequences with fixed buffers, to be filled and replayed.

    Rows without a sequence stand at position 0 of block 0, whose content is never read.
    """

    def __init__(self, backend: TorchBackend, rows: int, context_length: int) -> None:
        device, size = backend.device, backend.block_tokens
        self._backend = backend
        self.rows = rows
        at = torch.arange(rows, device=device)
        # Ids, positions and slots are one tensor, so that a step is one copy beside the table's.
        self._numbers = torch.zeros(3, rows, dtype=torch.int64, device=device)
        self._used = torch.ones(rows, dtype=torch.int32, device=device)
        self._table = torch.zeros(
            rows, -(-context_length // size), dtype=torch.int32, device=device
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits: Tensor | None = None
        self.batch = StepBatch(
            token_ids=self._numbers[0],
            positions=self._numbers[1],
            slots=self._numbers[2],
            rows=at,
            block_table=self._table,
            logits_at=at,
            query_starts=list(range(rows + 1)),
            context_lens=[context_length] * rows,
            cache=StepCache(
                lengths=(
                    torch.arange(rows + 1, dtype=torch.int32, device=device),
                    self._used,
                    1,
                )
            ),
        )

    def capture(self, pool: Any) -> None:
        """Record the step. Run it a few times before, as lazy set-up must not be recorded."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._forward()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            self._logits = self._forward()
        self._graph = graph

    def _forward(self) -> Tensor:
        """The step, masks included: those of an earlier one would hide what is new."""
        self.batch.cache.masks.clear()
        return TorchBackend.forward(self._backend, self.batch)

    def fill(self, batch: StepBatch) -> None:
        """Copy a batch's rows into the buffers; the rows left over point at block 0."""
        n = len(batch.context_lens)
        width = min(batch.block_table.shape[1], self._table.shape[1])
        self._numbers[:, n:].zero_()
        self._numbers[0, :n].copy_(batch.token_ids, non_blocking=True)
        self._numbers[1, :n].copy_(batch.positions, non_blocking=True)
        self._numbers[2, :n].copy_(batch.slots, non_blocking=True)
        self._table[n:].zero_()
        self._table[:n, :width].copy_(batch.block_table[:, :width], non_blocking=True)
        self._used[n:].fill_(1)
        self._used[:n].copy_(batch.positions + 1, non_blocking=True)

    def run(self, batch: StepBatch) -> Tensor:
        """Logits (R, V) float32 of the batch's own rows. A copy: the next replay overwrites."""
        self.fill(batch)
        if self._graph is None:
            logits = self._forward()
        else:
            self._graph.replay()
            assert self._logits is not None
            logits = self._logits
        return logits[: len(batch.context_lens)].clone()
