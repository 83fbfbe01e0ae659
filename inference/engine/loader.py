"""Where an engine gets its model and its tokenizer from: a model folder, or a test's own.

The reading itself is done by inference.models and inference.text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.engine.backends.base import LoadModel
from inference.engine.sampling.grammar import Grammars
from inference.engine.served_model import MakeDetokenizer
from inference.models.describe import describe, revision
from inference.models.loading import load_model
from inference.text import load_text


@dataclass(frozen=True, slots=True)
class TextArtifacts:
    """What the engine needs beside the weights. Without a tokenizer, answers are tokens alone."""

    eos_token_ids: frozenset[int] = frozenset()
    make_detokenizer: MakeDetokenizer | None = None
    make_grammars: Callable[[int], Grammars] | None = None  # from the model's vocabulary size
    revision: str = ""
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelLoader:
    """Two calls that the engine makes at start, and how many bytes they will read."""

    load_model: LoadModel
    load_text: Callable[[], TextArtifacts]
    weight_bytes: int = 0
    packed_in: Path | None = None  # where packed weights are kept from start to start


def folder_loader(model_dir: Path) -> ModelLoader:
    """The loader of a model folder, which the caller has allowed."""

    def load(path: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
        return load_model(path, dtype=dtype, device=device, allowed=(path.parent,)).model

    weights = [*model_dir.glob("*.safetensors"), *model_dir.glob("*.gguf")]
    return ModelLoader(
        load_model=load,
        load_text=lambda: _text_artifacts(model_dir),
        weight_bytes=sum(file.stat().st_size for file in weights),
        packed_in=model_dir,
    )


def _text_artifacts(model_dir: Path) -> TextArtifacts:
    if not (model_dir / "tokenizer.json").exists():
        return TextArtifacts(
            eos_token_ids=_eos_token_ids(model_dir),
            revision=revision(model_dir),
            info=describe(model_dir),
        )
    text = load_text(model_dir)
    return TextArtifacts(
        eos_token_ids=frozenset(text.eos_token_ids),
        make_detokenizer=lambda sampling: text.detokenizer(
            stop=sampling.stop,
            min_tokens=sampling.min_tokens,
            skip_special_tokens=sampling.skip_special_tokens,
            keeps_first_space=sampling.keeps_first_space,
        ),
        make_grammars=lambda vocab_size: Grammars(
            model_dir / "tokenizer.json",
            vocab_size=vocab_size,
            eos_token_ids=sorted(text.eos_token_ids),
        ),
        revision=revision(model_dir),
        info=describe(model_dir),
    )


def _eos_token_ids(model_dir: Path) -> frozenset[int]:
    """The end tokens by the configuration files, of a folder without a tokenizer."""
    for name in ("generation_config.json", "config.json"):
        try:
            eos = json.loads((model_dir / name).read_text(encoding="utf-8")).get("eos_token_id")
        except (OSError, ValueError):
            continue
        if eos is not None:
            return frozenset([eos] if isinstance(eos, int) else eos)
    return frozenset()
