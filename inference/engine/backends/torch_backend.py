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

from inference.engine.backends.base import Backend, LayerSpec, StepBatch, Unsupported

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
        self.model, self.layers = model, layers
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        return model

    def cache_bytes_per_block(self) -> int:
        per_token = sum(spec.kv_heads * (spec.key_dim + spec.value_dim) for spec in self.layers)
        return per_token * self.block_tokens * self.dtype.itemsize

    def allocate_cache(self, num_blocks: int) -> int:
        slots = num_blocks * self.block_tokens
        self._keys.clear()
        self._values.clear()
        for spec in self.layers:
            for store, dim in ((self._keys, spec.key_dim), (self._values, spec.value_dim)):
                store[spec.index] = torch.zeros(
                    slots, spec.kv_heads, dim, dtype=self.dtype, device=self.device
                )
        return num_blocks * self.cache_bytes_per_block()

    def clear_blocks(self, blocks: Sequence[int]) -> None:
        size = self.block_tokens
        for store in (*self._keys.values(), *self._values.values()):
            for block in blocks:
                store[block * size : (block + 1) * size].zero_()

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        batch: StepBatch,
        *,
        scale: float,
        window: int,
        softcap: float,
        sinks: Tensor | None,
    ) -> Tensor:
        keys, values = self._keys[layer], self._values[layer]
        keys.index_copy_(0, batch.slots, key.to(self.dtype))
        values.index_copy_(0, batch.slots, value.to(self.dtype))
        parts = []
        for start, end, first, last in _groups(batch):
            slots, mask = self._view(batch, first, last, window)
            rows, length = last - first, slots.shape[1]
            heads, kv_heads = query.shape[1], key.shape[1]
            per_kv = heads // kv_heads
            tokens = (end - start) // rows
            # Query heads that share a KV head become further query rows: nothing is repeated.
            q = query[start:end].view(rows, tokens, kv_heads, per_kv, -1)
            q = q.permute(0, 2, 3, 1, 4).reshape(rows, kv_heads, per_kv * tokens, -1)
            k = keys[slots.flatten()].view(rows, length, kv_heads, -1).transpose(1, 2)
            v = values[slots.flatten()].view(rows, length, kv_heads, -1).transpose(1, 2)
            m = mask if per_kv == 1 or tokens == 1 else mask.repeat(1, 1, per_kv, 1)
            if softcap or sinks is not None:
                s = None
                if sinks is not None:
                    s = sinks.view(kv_heads, per_kv).repeat_interleave(tokens, dim=1)
                out = _attend_plainly(q, k, v, m, scale=scale, softcap=softcap, sinks=s)
            else:
                out = F.scaled_dot_product_attention(q, k, v, attn_mask=m, scale=scale)
            out = out.view(rows, kv_heads, per_kv, tokens, -1).permute(0, 3, 1, 2, 4)
            parts.append(out.reshape(end - start, heads, -1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _view(self, batch: StepBatch, first: int, last: int, window: int) -> tuple[Tensor, Tensor]:
        """Slots (rows, length) of what sequences first..last may see, and the additive mask.

        The mask is (rows, 1, tokens, length), or (rows, 1, 1, length) for single tokens. Computed
        once per step and window, then found in the batch's scratch by every further layer.
        """
        known = batch.scratch.get((first, last, window))
        if known is not None:
            slots, mask = known
            return slots, mask
        length = max(batch.context_lens[first:last])
        size = self.block_tokens
        at = torch.arange(length, device=self.device)
        table = batch.block_table[first:last].long()
        slots = table[:, at // size] * size + at % size
        start, end = batch.query_starts[first], batch.query_starts[last]
        positions = batch.positions[start:end].view(last - first, -1, 1)
        hidden = at > positions
        if window:
            hidden |= at <= positions - window
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
        mask = mask.masked_fill_(hidden, float("-inf"))[:, None]
        batch.scratch[first, last, window] = slots, mask
        return slots, mask


def _groups(batch: StepBatch) -> list[tuple[int, int, int, int]]:
    """Cut the step into runs that attend in one call: (token start, end, first and last sequence).

    Neighbouring single-token sequences (decodes) form one run, each prefill chunk one of its own.
    """
    known = batch.scratch.get("groups")
    if known is not None:
        return list(known)
    groups: list[tuple[int, int, int, int]] = []
    starts = batch.query_starts
    for r in range(len(batch.context_lens)):
        single = starts[r + 1] - starts[r] == 1
        if single and groups and groups[-1][1] - groups[-1][0] == groups[-1][3] - groups[-1][2]:
            start, _, first, _ = groups[-1]
            groups[-1] = (start, starts[r + 1], first, r + 1)
        else:
            groups.append((starts[r], starts[r + 1], r, r + 1))
    batch.scratch["groups"] = groups
    return groups


def attend_alone(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    window: int,
    softcap: float,
    sinks: Tensor | None,
) -> Tensor:
    """Attention of one whole sequence over itself, without pages. Shapes as in Backend.attend."""
    tokens, heads, _ = query.shape
    per_kv = heads // key.shape[1]
    k, v = (t.transpose(0, 1)[None].repeat_interleave(per_kv, dim=1) for t in (key, value))
    at = torch.arange(tokens, device=query.device)
    hidden = at > at[:, None]
    if window:
        hidden |= at <= at[:, None] - window
    mask = torch.zeros(tokens, tokens, device=query.device).masked_fill_(hidden, float("-inf"))
    s = None if sinks is None else sinks.view(heads, 1).expand(heads, tokens)
    out = _attend_plainly(
        query.transpose(0, 1)[None], k, v, mask, scale=scale, softcap=softcap, sinks=s
    )
    return out[0].transpose(0, 1)


def _attend_plainly(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    *,
    scale: float,
    softcap: float,
    sinks: Tensor | None,
) -> Tensor:
    """Attention with a soft cap on the logits and sinks, which SDPA has no word for.

    q (R, KV, Q, D), k and v (R, KV, L, D), mask broadcast to (R, 1, Q, L), sinks (KV, Q).
    """
    weights = _weights(q, k, mask, scale=scale, softcap=softcap, sinks=sinks)
    return weights.to(v.dtype) @ v


def _weights(
    q: Tensor, k: Tensor, mask: Tensor, *, scale: float, softcap: float, sinks: Tensor | None
) -> Tensor:
    """Attention weights (R, KV, Q, L) float32; the sinks' own share is left out."""
    scores = (q @ k.transpose(-1, -2)).float() * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + mask.float()
    if sinks is None:
        return scores.softmax(dim=-1)
    extra = sinks.float()[None, :, :, None].expand(scores.shape[0], -1, -1, 1)
    return torch.cat([scores, extra], dim=-1).softmax(dim=-1)[..., :-1]


def attention_weights(
    query: Tensor,
    keys: Tensor,
    positions: Tensor,
    *,
    scale: float,
    window: int,
    softcap: float,
    sinks: Tensor | None,
) -> Tensor:
    """How much each of one sequence's newest tokens looks at each token up to the last.

    query (T, heads, dim), keys (slots, kv_heads, dim) in order of position, positions (T,) →
    (heads, T, length).
    """
    tokens, heads, _ = query.shape
    length = int(positions[-1]) + 1
    k = keys[:length].transpose(0, 1).repeat_interleave(heads // keys.shape[1], dim=0)
    at = torch.arange(length, device=query.device)
    hidden = at > positions[:, None]
    if window:
        hidden |= at <= positions[:, None] - window
    mask = torch.zeros(tokens, length, device=query.device).masked_fill_(hidden, float("-inf"))
    s = None if sinks is None else sinks.view(heads, 1).expand(heads, tokens)
    q = query.transpose(0, 1)[None]
    return _weights(q, k[None], mask, scale=scale, softcap=softcap, sinks=s)[0]
