"""Chooses the dtype that serves a model best on the native kernels.

The rule: of INT4, INT8 and BF16, in their order by speed on this CPU (format_speed.py measures
it), the first whose mean divergence from the loaded weights is at most MEAN_KL_LIMIT over the fixed
text. That is measured once, at the first start with these weights, and kept beside them; a model
too large for it is served in BF16 until it is measured by `python -m inference fidelity`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from inference.engine.backends.base import LoadModel, Unsupported
from inference.engine.backends.probe import probe_layers
from inference.engine.backends.reference_attention import sequence_logits
from inference.engine.backends.step_batch import sequence_batch
from inference.engine.native.native_backend import NativeBackend
from inference.models import dtype_fidelity

log = logging.getLogger(__name__)

MEAN_KL_LIMIT = 0.005
"""In nats. transformers' own BF16 has 0.001."""

BY_SPEED = ("int4", "int8", "bfloat16")
"""The order where nothing was measured."""
MEASURED_BYTES = 6 << 30
"""A model folder larger than this isn't measured at start: float32 takes its weights twice."""


def best_dtype(
    folder: Path, load: LoadModel, *, by_speed: Sequence[str] = BY_SPEED
) -> tuple[str, str]:
    """The dtype to serve the model of this folder in, and why, for a person."""
    if not (folder / "tokenizer.json").exists():
        return "bfloat16", "bfloat16: without a tokenizer nothing shows what fewer bits cost"

    for number, dtype in enumerate(by_speed):
        if dtype == "bfloat16":
            why = (
                f"fewer bits exceed a mean KL of {MEAN_KL_LIMIT}" if number else "the fastest here"
            )
            return dtype, f"{dtype}: {why}"
        mean_kl = dtype_fidelity.kept_mean_kl(folder, dtype)
        if mean_kl is None:
            size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
            if size > MEASURED_BYTES:
                return "bfloat16", "bfloat16: run `python -m inference fidelity` to allow less"
            try:
                mean_kl = measure(folder, load, dtype)
            except Unsupported as error:
                return "bfloat16", f"bfloat16: {error}"
        if mean_kl <= MEAN_KL_LIMIT:
            why = f"{dtype}: the fastest within a mean KL of {MEAN_KL_LIMIT} ({mean_kl:.4f})"
            return dtype, why
    raise ValueError("bfloat16 is always a candidate")


def measure(folder: Path, load: LoadModel, dtype: str) -> float:
    """Mean KL in nats of the dtype against the loaded weights; kept beside them."""
    from inference.text import load_text

    log.info("Measuring what %s costs %s; this happens once ...", dtype, folder.name)
    ids = torch.tensor(load_text(folder).encode(dtype_fidelity.TEXT, add_special_tokens=True))
    backend = NativeBackend(dtype=dtype)
    model = load(folder, torch.float32, torch.device("cpu")).eval()
    layers = probe_layers(model)
    reference = sequence_logits(model, ids)
    backend.prepare(model, layers)
    backend.allocate_cache(1 + len(ids) // backend.block_tokens)
    found = dtype_fidelity.compare(
        reference, backend.forward(sequence_batch(ids, block_tokens=backend.block_tokens))
    )
    dtype_fidelity.keep(folder, dtype, found)
    return found.mean_kl
