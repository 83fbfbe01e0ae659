"""The reference backend: transformers' own layers and plain torch attention over our pages.

Any dtype torch computes in, any device. Every other backend is tested against this one. Attention
reads padded pages, so its sums depend on the longest sequence of the batch: a row's logits agree
with those of the row alone to rounding, not bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.engine.backends.attention import AttentionCall, run_model
from inference.engine.backends.base import Backend, Unsupported
from inference.engine.backends.reference_attention import attend_masked
from inference.engine.backends.step_batch import AttentionGroup, LayerSpec, StepBatch
from inference.engine.memory import give_back, lazy_zeros, runs

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchBackend(Backend):
    """SDPA over gathered pages; keys and values are kept as (slots, kv_heads, dim) per layer."""

    def __init__(self, *, dtype: str, device: torch.device) -> None:
        if dtype not in DTYPES:
            raise Unsupported(f"{dtype} weights need the native kernels; torch serves {[*DTYPES]}.")
        self.device = device
        self.dtype = self.load_dtype = DTYPES[dtype]
        self.name = f"torch {dtype} on {device.type}"

    def prepare(self, model: nn.Module, layers: Sequence[LayerSpec]) -> nn.Module:
        """See Backend. Leaves the model as it is."""
        self.model, self.layers = model, layers
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        return model

    def cache_bytes_per_block(self) -> int:
        """See Backend."""
        per_token = sum(spec.kv_heads * (spec.key_dim + spec.value_dim) for spec in self.layers)
        return per_token * self.block_tokens * self.dtype.itemsize

    def allocate_cache(self, num_blocks: int) -> int:
        """See Backend."""
        slots = num_blocks * self.block_tokens
        self._keys.clear()
        self._values.clear()
        for spec in self.layers:
            for store, dim in ((self._keys, spec.key_dim), (self._values, spec.value_dim)):
                shape = (slots, spec.kv_heads, dim)
                store[spec.index] = (
                    lazy_zeros(shape, self.dtype)
                    if self.device.type == "cpu"
                    else torch.zeros(shape, dtype=self.dtype, device=self.device)
                )
        return num_blocks * self.cache_bytes_per_block()

    def clear_blocks(self, blocks: Sequence[int]) -> None:
        """See Backend."""
        size = self.block_tokens
        for store in (*self._keys.values(), *self._values.values()):
            for block in blocks:
                store[block * size : (block + 1) * size].zero_()

    def give_back(self, blocks: Sequence[int]) -> None:
        """See Backend. On a CPU."""
        if self.device.type == "cpu":
            size = self.block_tokens
            for begin, end in runs(blocks):
                for store in (*self._keys.values(), *self._values.values()):
                    give_back(store[begin * size : end * size])

    def forward(self, batch: StepBatch) -> Tensor:
        """See Backend."""
        return run_model(self.model, self, batch)

    def attend(self, call: AttentionCall, batch: StepBatch) -> Tensor:
        """Write the call's keys and values into their slots, then attend over the pages."""
        keys, values = self._keys[call.layer], self._values[call.layer]
        keys.index_copy_(0, batch.slots, call.key.to(self.dtype))
        values.index_copy_(0, batch.slots, call.value.to(self.dtype))
        heads, kv_heads = call.query.shape[1], call.key.shape[1]
        per_kv = heads // kv_heads
        parts = []
        for group in _groups(batch):
            slots, mask = self._masked_slots(batch, group, call.window)
            rows, length = group.last - group.first, slots.shape[1]
            tokens = (group.end - group.start) // rows
            # Query heads that share a KV head become further query rows: nothing is repeated.
            q = call.query[group.start : group.end].view(rows, tokens, kv_heads, per_kv, -1)
            q = q.permute(0, 2, 3, 1, 4).reshape(rows, kv_heads, per_kv * tokens, -1)
            k = keys[slots.flatten()].view(rows, length, kv_heads, -1).transpose(1, 2)
            v = values[slots.flatten()].view(rows, length, kv_heads, -1).transpose(1, 2)
            m = mask if per_kv == 1 or tokens == 1 else mask.repeat(1, 1, per_kv, 1)
            if call.softcap or call.sinks is not None:
                s = None
                if call.sinks is not None:
                    s = call.sinks.view(kv_heads, per_kv).repeat_interleave(tokens, dim=1)
                out = attend_masked(q, k, v, m, scale=call.scale, softcap=call.softcap, sinks=s)
            else:
                out = F.scaled_dot_product_attention(q, k, v, attn_mask=m, scale=call.scale)
            out = out.view(rows, kv_heads, per_kv, tokens, -1).permute(0, 3, 1, 2, 4)
            parts.append(out.reshape(group.end - group.start, heads, -1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _masked_slots(
        self, batch: StepBatch, group: AttentionGroup, window: int
    ) -> tuple[Tensor, Tensor]:
        """Slots (rows, length) of what a group's sequences may see, and the additive mask.

        The mask is (rows, 1, tokens, length), or (rows, 1, 1, length) for single tokens. Computed
        once per step and window; every further layer finds it in the batch's cache.
        """
        known = batch.cache.masks.get((group, window))
        if known is not None:
            return known
        first, last = group.first, group.last
        length = max(batch.context_lens[first:last])
        size = self.block_tokens
        at = torch.arange(length, device=self.device)
        table = batch.block_table[first:last].long()
        slots = table[:, at // size] * size + at % size
        positions = batch.positions[group.start : group.end].view(last - first, -1, 1)
        hidden = at > positions
        if window:
            hidden |= at <= positions - window
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
        mask = mask.masked_fill_(hidden, float("-inf"))[:, None]
        batch.cache.masks[group, window] = slots, mask
        return slots, mask


def _groups(batch: StepBatch) -> list[AttentionGroup]:
    """Cut the step into runs that attend in one call.

    Neighbouring single-token sequences (decodes) form one run, each prefill chunk one of its own.
    """
    if batch.cache.groups is not None:
        return batch.cache.groups
    groups: list[AttentionGroup] = []
    starts = batch.query_starts
    is_open = False  # the last group is one of single tokens, and may grow
    for r in range(len(batch.context_lens)):
        single = starts[r + 1] - starts[r] == 1
        if single and is_open:
            before = groups.pop()
            groups.append(AttentionGroup(before.start, starts[r + 1], before.first, r + 1))
        else:
            groups.append(AttentionGroup(starts[r], starts[r + 1], r, r + 1))
        is_open = single
    batch.cache.groups = groups
    return groups
