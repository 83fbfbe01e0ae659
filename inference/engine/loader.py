"""Where an engine gets its model and its tokenizer from: a model folder, or a test's own.

The work itself is that of inference.models and inference.text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.engine.output import MakeDetokenizer
from inference.engine.sampling.grammar import Grammars
from inference.models.describe import describe, revision
from inference.models.loading import load_model
from inference.text import load_text


@dataclass(frozen=True, slots=True)
class TextSide:
    """What the engine needs to know beside the weights. Without a tokenizer, answers are tokens."""

    eos_token_ids: frozenset[int] = frozenset()
    make_detokenizer: MakeDetokenizer | None = None
    make_grammars: Callable[[int], Grammars] | None = None  # from the model's vocabulary size
    revision: str = ""
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Two calls that the engine thread makes at start, and how many bytes they will read."""

    load_model: Callable[[Path, torch.dtype, torch.device], nn.Module]
    load_text: Callable[[], TextSide]
    weight_bytes: int = 0


def folder_source(model_dir: Path) -> Source:
    """Model and tokenizer of a model folder, which the caller has allowed."""

    def load(path: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
        return load_model(path, dtype=dtype, device=device, allowed=(path.parent,)).model

    weights = [*model_dir.glob("*.safetensors"), *model_dir.glob("*.gguf")]
    return Source(
        load_model=load,
        load_text=lambda: _text_side(model_dir),
        weight_bytes=sum(file.stat().st_size for file in weights),
    )


def _text_side(model_dir: Path) -> TextSide:
    if not (model_dir / "tokenizer.json").exists():
        return TextSide(
            eos_token_ids=_eos_token_ids(model_dir),
            revision=revision(model_dir),
            info=describe(model_dir),
        )
    text = load_text(model_dir)
    return TextSide(
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
    for name in ("generation_config.json", "config.json"):
        try:
            eos = json.loads((model_dir / name).read_text(encoding="utf-8")).get("eos_token_id")
        except (OSError, ValueError):
            continue
        if eos is not None:
            return frozenset([eos] if isinstance(eos, int) else eos)
    return frozenset()
