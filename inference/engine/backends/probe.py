"""What a loaded model's attention layers need, found by running it once; and who can't be served.

One forward over a few tokens tells, for each layer, the sizes, the window, the scale, the soft cap
and the sinks that transformers hands its attention function. Configurations name these things in
a dozen ways; the call itself can't be misread.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from inference.engine.backends.base import (
    ATTENTION_NAME,
    Backend,
    LayerSpec,
    StepBatch,
    Unsupported,
    paged_attention,
)
from inference.engine.backends.torch_backend import attend_alone

AttentionInterface.register(ATTENTION_NAME, paged_attention)

PROBE_TOKENS = 4


def probe_layers(model: nn.Module) -> list[LayerSpec]:
    """Run four tokens through the model and note what each attention layer asked for.

    Sets the model's attention to ours. Raises Unsupported naming the model type and the reason.
    """
    config: Any = model.config
    text_config = config.get_text_config()
    kind = getattr(config, "model_type", type(model).__name__)
    if getattr(config, "is_encoder_decoder", False):
        raise Unsupported(f"{kind} has an encoder; only decoders can be served.")
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        raise Unsupported(f"{kind} can't give the logits of chosen tokens alone (logits_to_keep).")
    recurrent = _recurrent_parts(model)
    if recurrent:
        raise Unsupported(
            f"{kind} keeps a recurrent state ({', '.join(recurrent)}); "
            "only models whose memory is keys and values can be served."
        )
    try:
        model.set_attn_implementation(ATTENTION_NAME)  # type: ignore[operator]
    except Exception as error:
        raise Unsupported(f"{kind} does not take a registered attention: {error}") from error
    recorder = _Recorder()
    device = next(model.parameters()).device
    vocab = int(text_config.vocab_size)
    ids = torch.arange(PROBE_TOKENS, device=device) % vocab
    batch = StepBatch(
        token_ids=ids,
        positions=torch.arange(PROBE_TOKENS, device=device),
        slots=ids,
        rows=torch.zeros_like(ids),
        block_table=torch.zeros(1, 1, dtype=torch.int32, device=device),
        logits_at=torch.tensor([PROBE_TOKENS - 1], device=device),
        query_starts=[0, PROBE_TOKENS],
        context_lens=[PROBE_TOKENS],
        scratch={},
    )
    recorder.model = model
    recorder.device = device
    try:
        logits = recorder.forward(batch)
    except Exception as error:
        raise Unsupported(f"{kind} failed in a trial run: {error}") from error
    if logits.shape != (1, vocab):
        raise Unsupported(f"{kind} gave logits of shape {tuple(logits.shape)}, not (1, {vocab}).")
    layers = int(text_config.num_hidden_layers)
    if sorted(recorder.seen) != list(range(layers)):
        missing = layers - len(recorder.seen)
        raise Unsupported(
            f"{kind} has {layers} layers, of which {missing} don't use the attention that was "
            "registered; their memory can't be kept in pages."
        )
    return [recorder.seen[index] for index in range(layers)]


def _recurrent_parts(model: nn.Module) -> list[str]:
    """Names of layers whose memory isn't keys and values, by transformers' own layer types."""
    types = getattr(model.config.get_text_config(), "layer_types", None) or []  # type: ignore[union-attr,operator]
    known = {"full_attention", "sliding_attention", "chunked_attention"}
    return sorted({kind for kind in types if kind not in known})


class _Recorder(Backend):
    """A backend that attends within the batch alone and notes each layer's call."""

    def __init__(self) -> None:
        self.seen: dict[int, LayerSpec] = {}

    def prepare(self, model: nn.Module, layers: Any) -> nn.Module:
        raise NotImplementedError

    def allocate_cache(self, num_blocks: int) -> int:
        raise NotImplementedError

    def cache_bytes_per_block(self) -> int:
        raise NotImplementedError

    def clear_blocks(self, blocks: Any) -> None:
        raise NotImplementedError

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
        if layer in self.seen:
            raise Unsupported(f"layer {layer} attends twice in one step")
        self.seen[layer] = LayerSpec(
            index=layer,
            query_heads=query.shape[1],
            kv_heads=key.shape[1],
            key_dim=key.shape[2],
            value_dim=value.shape[2],
            window=window,
            scale=scale,
            softcap=softcap,
            has_sinks=sinks is not None,
        )
        return attend_alone(
            query, key, value, scale=scale, window=window, softcap=softcap, sinks=sinks
        )
