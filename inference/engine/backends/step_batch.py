"""What the engine hands to a backend for one step, and what a model's attention layers are like.

Plain data: tensors and sizes. Doesn't know requests (model_runner.py builds batches) or how a step
is computed (the backends do).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

CosSin = tuple[Tensor, Tensor]
"""Cosines and sines of rotary positions."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """What one attention layer keeps per token, as seen when the model was probed.

    `index` is transformers' `layer_idx`; `window` 0 means that every earlier token is seen.
    """

    index: int
    query_heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int = 0
    scale: float = 1.0
    softcap: float = 0.0
    has_sinks: bool = False


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """A run of tokens that attend in one call: tokens `start` to `end` of the step, which belong
    to its sequences `first` to `last` (both ends exclusive).
    """

    start: int
    end: int
    first: int
    last: int


@dataclass(slots=True)
class StepCache:
    """What a backend computes once per step and every layer of it uses again."""

    groups: list[AttentionGroup] | None = None
    masks: dict[tuple[AttentionGroup, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By group and window: slots (rows, length) and the additive mask."""
    lengths: tuple[Tensor, Tensor, int] | None = None
    """Query starts (R + 1) and context lengths (R), int32, and the longest query."""
    hidden: Tensor | None = None
    """(T, width) float32 between two slices of a step that runs layer by layer."""
    ropes: list[CosSin | None] = field(default_factory=list)
    """By layer: the rotations that transformers made for this step's tokens."""


@dataclass(slots=True)
class StepBatch:
    """One step's tokens as one row of T, from R sequences, asking for the logits of L of them.

    Tokens of a sequence lie together and in order, sequences in the order of `block_table`'s rows;
    prefill chunks and decodes mix. A sequence's keys and values up to `context_lens[r]` lie in the
    blocks of its row once this step has written `slots`.
    """

    token_ids: Tensor  # (T,) int64
    positions: Tensor  # (T,) int64, place in the sequence, from 0
    slots: Tensor  # (T,) int64, block * block_tokens + offset: where this token's K and V go
    rows: Tensor  # (T,) int64, which of the R sequences a token belongs to
    block_table: Tensor  # (R, B) int32, padded with 0
    logits_at: Tensor  # (L,) int64, indices into T
    query_starts: Sequence[int]  # R + 1 host integers: tokens of sequence r are [r] to [r + 1]
    context_lens: Sequence[int]  # R host integers: tokens in the pages after this step
    cache: StepCache = field(default_factory=StepCache)

    @property
    def is_decode_only(self) -> bool:
        """Whether each sequence brings exactly one token."""
        return self.token_ids.shape[0] == len(self.context_lens)


def sequence_batch(token_ids: Tensor, *, block_tokens: int, only_last: bool = False) -> StepBatch:
    """A step of one whole sequence in the blocks 0, 1, 2 ..., on the device of its tokens (T,).

    Asks for the logits of all its tokens, or of the last one alone.
    """
    tokens = len(token_ids)
    at = torch.arange(tokens, device=token_ids.device)
    blocks = -(-tokens // block_tokens)
    return StepBatch(
        token_ids=token_ids,
        positions=at,
        slots=at,
        rows=torch.zeros_like(at),
        block_table=torch.arange(blocks, dtype=torch.int32, device=token_ids.device)[None],
        logits_at=at[-1:] if only_last else at,
        query_starts=[0, tokens],
        context_lens=[tokens],
    )
