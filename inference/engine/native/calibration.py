"""Runs a model once on a few random tokens and notes what each layer is given and gives.

The run is long enough to reach past sliding windows. What it is compared with is in fusion.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from inference.engine.backends.reference_attention import sequence_logits
from inference.engine.backends.step_batch import LayerSpec
from inference.engine.native.layer_parts import decoder_layers

CALIBRATION_TOKENS = 24
"""Tokens of the calibration run of a model without sliding windows."""
LONGEST_CALIBRATION = 640
"""A window longer than this is taken from the model's own call and not tried out."""


@dataclass(slots=True)
class LayerCalibration:
    """What one layer was given and gave in the calibration run."""

    hidden: Tensor  # (1, T, width)
    output: Tensor  # (1, T, width)
    cos_sin: tuple[Tensor, Tensor] | None  # each (1, T, dim)


@dataclass(slots=True)
class CalibrationRun:
    """One run of the whole model: its layers' inputs and outputs, and its logits."""

    token_ids: Tensor  # (T,)
    layers: list[LayerCalibration] = field(default_factory=list)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))  # (T, vocabulary)


def calibration_tokens(specs: Sequence[LayerSpec]) -> int:
    """How many tokens a calibration run needs to reach past every window it can."""
    windows = [spec.window for spec in specs if spec.window]
    reach = max((window for window in windows if window + 16 <= LONGEST_CALIBRATION), default=0)
    return max(CALIBRATION_TOKENS, reach + 16)


def run_calibration(model: nn.Module, specs: Sequence[LayerSpec]) -> CalibrationRun:
    """Run the model on a few tokens, noting what its layers are given and give."""
    vocab = int(model.config.get_text_config().vocab_size)  # type: ignore[union-attr,operator]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab, (calibration_tokens(specs),), generator=generator)
    run = CalibrationRun(token_ids=ids)

    def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        output = out[0] if isinstance(out, tuple) else out
        cos_sin = kwargs.get("position_embeddings")
        run.layers.append(LayerCalibration(hidden.clone(), output.clone(), cos_sin))

    hooks = [layer.register_forward_hook(note, with_kwargs=True) for layer in decoder_layers(model)]
    try:
        run.logits = sequence_logits(model, ids)
    finally:
        for hook in hooks:
            hook.remove()
    return run
