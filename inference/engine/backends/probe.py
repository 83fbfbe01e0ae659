"""Finds what a model's attention layers need by running it once; names models we can't serve.

One forward over a few tokens shows, for each layer, the sizes, the window, the scale, the soft cap
and the sinks that transformers hands its attention function. Configurations name these things in
a dozen ways; the call itself can't be misread.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from inference.engine.backends.attention import (
    ATTENTION_NAME,
    AttentionCall,
    paged_attention,
    run_model,
)
from inference.engine.backends.base import Unsupported
from inference.engine.backends.reference_attention import attend_sequence
from inference.engine.backends.step_batch import LayerSpec, StepBatch, sequence_batch

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
    recorder = _AttentionRecorder()
    vocab = int(text_config.vocab_size)
    token_ids = torch.arange(PROBE_TOKENS, device=next(model.parameters()).device) % vocab
    batch = sequence_batch(token_ids, block_tokens=PROBE_TOKENS, only_last=True)
    try:
        logits = run_model(model, recorder, batch)
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


class _AttentionRecorder:
    """Attends within the batch alone and notes what each layer asked for."""

    def __init__(self) -> None:
        self.seen: dict[int, LayerSpec] = {}

    def attend(self, call: AttentionCall, batch: StepBatch) -> Tensor:
        if call.layer in self.seen:
            raise Unsupported(f"layer {call.layer} attends twice in one step")
        self.seen[call.layer] = LayerSpec(
            index=call.layer,
            query_heads=call.query.shape[1],
            kv_heads=call.key.shape[1],
            key_dim=call.key.shape[2],
            value_dim=call.value.shape[2],
            window=call.window,
            scale=call.scale,
            softcap=call.softcap,
            has_sinks=call.sinks is not None,
        )
        return attend_sequence(call)
