"""How transformers' layers reach our attention: one registered function, and the step it works on.

A model is run inside `run_model`, which makes an `Attention` and a batch current for this thread;
each layer's call then comes to that attention as one `AttentionCall`. Doesn't know pages or
kernels: those belong to the implementations of `Attention`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from inference.engine.backends.step_batch import StepBatch

ATTENTION_NAME = "chatsite_paged"
"""The name under which `paged_attention` is registered with transformers (probe.py does it)."""


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One layer's attention in one step, as the model asks for it.

    query (T, heads, key_dim), key (T, kv_heads, key_dim), value (T, kv_heads, value_dim), all after
    rope. A token sees positions up to its own, and with `window` w > 0 only the last w of those.
    `softcap` 0 is none. `sinks` (heads,) are extra logits that take part in the softmax and add
    nothing to the output.
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    window: int = 0
    softcap: float = 0.0
    sinks: Tensor | None = None


class Attention(Protocol):
    """Computes the attention of a step's layers."""

    def attend(self, call: AttentionCall, batch: StepBatch) -> Tensor:
        """Write the call's keys and values into the batch's slots, then attend over each token's
        context.

        Returns (T, heads, value_dim) in the dtype of the query.
        """


class _Current(threading.local):
    """The step being run by this thread.

    The attention function finds it here instead of in keyword arguments, because not every model
    passes unknown keywords through to its attention.
    """

    step: tuple[Attention, StepBatch] | None = None


_current = _Current()


def current_batch() -> StepBatch:
    """The batch that `run_model` runs in this thread; for layers that replace the model's own."""
    return _current_step()[1]


def _current_step() -> tuple[Attention, StepBatch]:
    if _current.step is None:
        raise RuntimeError("the model was called outside a step of the engine")
    return _current.step


@contextmanager
def _serving(attention: Attention, batch: StepBatch) -> Iterator[None]:
    before, _current.step = _current.step, (attention, batch)
    try:
        yield
    finally:
        _current.step = before


def run_model(model: nn.Module, attention: Attention, batch: StepBatch) -> Tensor:
    """Run transformers' model on one step. Returns logits (L, V) float32, on the model's device.

    The model's attention must be `ATTENTION_NAME` (probe_layers sets it).
    """
    with _serving(attention, batch):
        out = model(
            input_ids=batch.token_ids[None],
            position_ids=batch.positions[None],
            use_cache=False,
            logits_to_keep=batch.logits_at,
        )
    logits: Tensor = out.logits[0]
    return logits.float()


def paged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_ignored: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: hands the call to the current step's `Attention`.

    query (1, heads, T, dim), key and value (1, kv_heads, T, dim) → (1, T, heads, dim). There is
    never a mask: no mask function is registered under our name, so transformers builds none.
    """
    attention, batch = _current_step()
    call = AttentionCall(
        layer=int(module.layer_idx),  # type: ignore[arg-type]
        query=query[0].transpose(0, 1),
        key=key[0].transpose(0, 1),
        value=value[0].transpose(0, 1),
        scale=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        window=int(sliding_window or 0),
        softcap=float(softcap or 0.0),
        sinks=s_aux,
    )
    return attention.attend(call, batch)[None], None
