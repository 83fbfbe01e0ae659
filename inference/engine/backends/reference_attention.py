"""Attention in plain torch: the definition that every faster one is compared with.

Knows soft caps and sinks, which SDPA doesn't; works on whole sequences and given masks, without
pages.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.engine.backends.attention import AttentionCall, run_model
from inference.engine.backends.step_batch import StepBatch, sequence_batch


class SequenceAttention:
    """Attention within a batch that is one whole sequence: no pages are needed."""

    def attend(self, call: AttentionCall, batch: StepBatch) -> Tensor:
        """See Attention. The batch must be one sequence from its first token on."""
        return attend_sequence(call)


def sequence_logits(model: nn.Module, token_ids: Tensor) -> Tensor:
    """Logits (T, V) float32 of one sequence by the model's own layers. Needs no pages."""
    batch = sequence_batch(token_ids, block_tokens=len(token_ids))
    return run_model(model, SequenceAttention(), batch)


def attend_sequence(call: AttentionCall) -> Tensor:
    """Attention of one whole sequence over itself → (T, heads, value_dim)."""
    tokens, heads, _ = call.query.shape
    repeats = heads // call.key.shape[1]
    k, v = (
        t.transpose(0, 1)[None].repeat_interleave(repeats, dim=1) for t in (call.key, call.value)
    )
    mask = causal_mask(torch.arange(tokens, device=call.query.device), tokens, call.window)
    q = call.query.transpose(0, 1)[None]
    out = attend_masked(
        q, k, v, mask, scale=call.scale, softcap=call.softcap, sinks=_sinks_by_query(call)
    )
    return out[0].transpose(0, 1)


def attention_weights(call: AttentionCall, keys: Tensor, positions: Tensor) -> Tensor:
    """How much each of one sequence's newest tokens looks at each token up to the last.

    `keys` (slots, kv_heads, dim) in order of position, those of the call included; positions (T,) →
    (heads, T, length).
    """
    length = int(positions[-1]) + 1
    repeats = call.query.shape[1] // keys.shape[1]
    k = keys[:length].transpose(0, 1).repeat_interleave(repeats, dim=0)[None]
    mask = causal_mask(positions, length, call.window)
    q = call.query.transpose(0, 1)[None]
    return _weights(
        q, k, mask, scale=call.scale, softcap=call.softcap, sinks=_sinks_by_query(call)
    )[0]


def causal_mask(positions: Tensor, length: int, window: int) -> Tensor:
    """Additive mask (T, length) float32 of tokens at `positions` (T,) over positions 0, 1 ..."""
    at = torch.arange(length, device=positions.device)
    hidden = at > positions[:, None]
    if window:
        hidden |= at <= positions[:, None] - window
    return torch.zeros(hidden.shape, device=at.device).masked_fill_(hidden, float("-inf"))


def attend_masked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    *,
    scale: float,
    softcap: float,
    sinks: Tensor | None,
) -> Tensor:
    """Attention with a soft cap on the logits and sinks → (R, KV, Q, DV).

    q (R, KV, Q, D), k (R, KV, L, D), v (R, KV, L, DV), mask broadcast to (R, 1, Q, L), sinks
    (KV, Q).
    """
    weights = _weights(q, k, mask, scale=scale, softcap=softcap, sinks=sinks)
    return weights.to(v.dtype) @ v


def _sinks_by_query(call: AttentionCall) -> Tensor | None:
    if call.sinks is None:
        return None
    tokens, heads, _ = call.query.shape
    return call.sinks.view(heads, 1).expand(heads, tokens)


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
