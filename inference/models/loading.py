"""Loads a model folder's weights into transformers' own module: safetensors or GGUF, nothing else.

Pickles and code that a folder brings are refused. Packing to int8 and int4 is the engine backend's
business: it says in which torch dtype it wants the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from inference.models.describe import revision
from inference.models.headers import BadWeights, weight_files
from inference.text.folders import model_folder


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A transformers model in evaluation mode, and which weights it holds."""

    model: nn.Module
    folder: Path
    revision: str


def load_model(
    path: Path | str,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    allowed: Sequence[Path] | None = None,
    tp_size: int = 1,
) -> LoadedModel:
    """Load the model of an allowed folder (a slug or a path) in `dtype` onto `device`.

    With `tp_size` of 2 and more, only this process's shard of the weights, by transformers' own
    plan; a torch.distributed group of that many processes must be there, on the device's kind.
    `allowed` as in `model_folder`; a caller that has checked the folder names its parent.
    Raises ModelFolderError for a folder elsewhere, BadWeights for pickles, code and files that
    can't be read. float16 on a CPU is refused: few kernels there know it.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    transformers_logging: Any = logging

    folder = model_folder(path, allowed=allowed)
    files = weight_files(folder)
    device = torch.device(device)
    if dtype is torch.float16 and device.type == "cpu":
        raise BadWeights("float16 is for GPUs; a CPU takes float32, bfloat16, int8 or int4.")
    gguf = files[0].name if files[0].suffix == ".gguf" else None
    plan = None
    if tp_size > 1:
        from transformers.distributed import DistributedConfig

        plan = DistributedConfig(tp_size=tp_size, tp_plan="auto")
    transformers_logging.disable_progress_bar()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            gguf_file=gguf,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True if gguf is None else None,
            distributed_config=plan,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadWeights(f"{folder.name} can't be loaded: {error}") from error
    if gguf is not None:
        model.to(dtype)
    model.eval()
    if plan is None:  # shards were put on their device by the plan
        model.to(device)
    return LoadedModel(model, folder, revision(folder))
