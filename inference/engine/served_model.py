"""What is the same for all answers of one loaded model, and what its hardware allows at best.

The floors are of one request served alone: docs/measures.md defines them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from inference.contract import SamplingParams, is_end_token
from inference.engine.device_speed import SpeedMeter


class Detokenizer(Protocol):
    """What the engine needs of inference.text's detokeniser."""

    @property
    def stopped(self) -> str | None:
        """The stop string that was found, if one was."""

    def feed(self, token_id: int) -> str:
        """The text that this token completes."""

    def finish(self) -> str:
        """The text that was held back until the end."""


MakeDetokenizer = Callable[[SamplingParams], Detokenizer]
"""By stop strings, the number of tokens before which they don't count, and what text shows."""


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """Figures of the loaded model that floors and statistics need."""

    context_length: int
    vocab_size: int
    weight_bytes: int  # read by one decode step
    body_parameters: int  # without embedding and head
    head_parameters: int
    kv_bytes_per_token: int
    attention_flops_per_pair: int  # per query token and context token, all layers


@dataclass(frozen=True, slots=True)
class ServedModelInfo:
    """One loaded model as its requests and their Results know it."""

    worker: str
    device: str
    dtype: str
    model_revision: str
    context_length: int  # the model's own, or less where the pages hold less
    eos_token_ids: frozenset[int]
    speed_meter: SpeedMeter  # floors are of the best that it has seen by then
    sizes: ModelSizes
    make_detokenizer: MakeDetokenizer | None  # None: a model without a tokenizer; text stays empty

    def is_end(self, token_id: int, sampling: SamplingParams) -> bool:
        """Whether an answer ends with this token, which then gives no text."""
        return is_end_token(token_id, sampling, self.eos_token_ids)

    def tpot_floor_us(self, mean_context: float) -> float | None:
        """(weights + keys and values read) / bandwidth, at this mean length; None if unknown."""
        bandwidth_bytes_s = self.speed_meter.best.bandwidth_bytes_s
        if not bandwidth_bytes_s:
            return None
        read = self.sizes.weight_bytes + mean_context * self.sizes.kv_bytes_per_token
        return read / bandwidth_bytes_s * 1e6

    def prefill_floor_us(self, *, total: int, cached: int) -> float | None:
        """Time of `total` tokens of which `cached` lie in pages already; None if unknown.

        Products of the fresh tokens, the head once, and attention, over FLOP/s.
        """
        flops_s = self.speed_meter.best.flops_s
        if not flops_s:
            return None
        pairs = (total * (total + 1) - cached * (cached + 1)) / 2
        flops = 2.0 * self.sizes.body_parameters * (total - cached)
        flops += 2.0 * self.sizes.head_parameters
        flops += pairs * self.sizes.attention_flops_per_pair
        return flops / flops_s * 1e6
