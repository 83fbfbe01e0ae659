"""Rank 0's backend of a split model: every rank makes the calls that touch weights or pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor, nn

from inference.engine.backends.base import Backend, Unsupported
from inference.engine.backends.step_batch import LayerSpec, StepBatch
from inference.engine.parallel.rank_worker import to_host
from inference.engine.parallel.tp_group import TPGroup
from inference.engine.sampling.sampling_backend import SamplingBackend


class TensorParallelBackend(Backend):
    """Makes each call on rank 0's own backend and on every other rank's. Sizes are the whole
    model's.
    """

    def __init__(self, own: Backend, group: TPGroup) -> None:
        self._own, self._group = own, group
        self.device, self.load_dtype, self.name = own.device, own.load_dtype, own.name

    def prepare(self, model: nn.Module, layers: Sequence[LayerSpec]) -> nn.Module:
        """See Backend. Waits until every rank has prepared its shard."""
        own, count = self._own, self._group.count
        self.model = own.prepare(model, layers)
        self.layers = [
            dataclasses.replace(
                spec, query_heads=spec.query_heads * count, kv_heads=spec.kv_heads * count
            )
            for spec in layers
        ]
        self.block_tokens = own.block_tokens
        for rank in range(1, count):
            if (tokens := self._group.recv(rank)) != self.block_tokens:
                raise Unsupported(
                    f"part {rank} of {count} chose pages of {tokens} tokens, "
                    f"part 0 of {self.block_tokens}: their devices differ."
                )
        self.name = f"{own.name}, split over {count} processes"
        self.notes = own.notes
        if self.device.type == "cuda":
            self.notes += ("no CUDA graphs: steps of a split model are not captured",)
        return self.model

    def allocate_cache(self, num_blocks: int) -> int:
        """See Backend. Returns the bytes of all ranks together."""
        self._group.send("allocate_cache", num_blocks)
        return self._own.allocate_cache(num_blocks) * self._group.count

    def cache_bytes_per_block(self) -> int:
        """See Backend. Of all ranks together."""
        return self._own.cache_bytes_per_block() * self._group.count

    def clear_blocks(self, blocks: Sequence[int]) -> None:
        """See Backend. On every rank."""
        self._group.send("clear_blocks", list(blocks))
        self._own.clear_blocks(blocks)

    def forward(self, batch: StepBatch) -> Tensor:
        """As Backend.forward. Raises RankLost: a step broken here leaves the others half-way."""
        try:
            self._group.send("forward", to_host(batch))
            return self._own.forward(batch)
        except Exception as error:
            raise self._group.lost(error) from error

    def sampling_backend(self) -> SamplingBackend:
        """See Backend. Rank 0 alone samples."""
        return self._own.sampling_backend()
