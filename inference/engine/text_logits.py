"""The logits of a whole text under the engine's own arithmetic, for comparing dtypes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from inference.contract import GenerationRequest, SamplingParams, Stamp
from inference.engine.active_request import ActiveRequest
from inference.engine.backends.base import Unsupported
from inference.engine.config import EngineConfig
from inference.engine.loader import folder_loader
from inference.engine.model_runner import ModelRunner
from inference.engine.scheduling.scheduler import Scheduled


def logits_of(folder: Path, tokens: list[int], *, dtype: str, backend: str) -> tuple[Tensor, str]:
    """Logits (T, V) on the CPU, and the backend that made them.

    Raises Unsupported or ValueError when this dtype can't be served here.
    """
    config = EngineConfig(
        model_dir=folder, dtype=dtype, backend=backend, measure=False, warm_up=False,
        kv_cache_bytes=256 << 20,
    )  # fmt: skip
    runner = ModelRunner(config, load=folder_loader(folder).load_model)
    if runner.dtype != dtype:
        raise Unsupported(f"{dtype} can't be served here: {'; '.join(runner.notes)}")
    request = GenerationRequest(
        request_id="logits",
        model=folder.name,
        prompt_token_ids=tuple(tokens),
        sampling=SamplingParams(),
        received=Stamp.now(),
        echo_logprobs=0,  # asks for the logits of every prompt token
    )
    size = runner.backend.block_tokens
    active = ActiveRequest(
        request=request,
        token_ids=list(tokens),
        arrival=0,
        seed=0,
        started=Stamp.now(),
        blocks=list(range(1, 2 + len(tokens) // size)),
    )
    with torch.no_grad():
        logits = runner.step([Scheduled(active, len(tokens), True)]).cpu()
    return logits, runner.backend.name
