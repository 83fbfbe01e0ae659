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

from inference.engine.answers import MakeDetokenizer
from inference.engine.grammar import Grammars
from inference.models.describe import describe


@dataclass(frozen=True, slots=True)
class TextSide:
    """What the engine needs to know of a model's text. Without a tokenizer, answers are tokens."""

    eos_token_ids: frozenset[int] = frozenset()
    make_detokenizer: MakeDetokenizer | None = None
    make_grammars: Callable[[int], Grammars] | None = None  # from the model's vocabulary size
    revision: str = ""
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Two calls the engine thread makes once, at start."""

    load_model: Callable[[Path, torch.dtype, torch.device], nn.Module]
    load_text: Callable[[], TextSide]


def folder_source(model_dir: Path) -> Source:
    """Model and tokenizer of a model folder."""

    def load_text() -> TextSide:
        info = describe(model_dir)
        if not (model_dir / "tokenizer.json").exists():
            return TextSide(
                eos_token_ids=_eos_token_ids(model_dir), revision=info["revision"], info=info
            )
        from inference.text import load_text as load

        text = load(model_dir)
        return TextSide(
            eos_token_ids=frozenset(text.eos_token_ids),
            revision=info["revision"],
            info=info,
            make_detokenizer=lambda stop, least: text.detokenizer(stop=stop, min_tokens=least),
            make_grammars=lambda vocab_size: Grammars(
                model_dir / "tokenizer.json",
                vocab_size=vocab_size,
                eos_token_ids=sorted(text.eos_token_ids),
            ),
        )

    return Source(load_model=_load_folder, load_text=load_text)


def _load_folder(path: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    from inference.models.loading import load_model

    # Whoever made the EngineConfig has checked that this folder may be a model.
    return load_model(path, dtype=dtype, device=device, allowed=[path.resolve().parent]).model


def _eos_token_ids(model_dir: Path) -> frozenset[int]:
    for name in ("generation_config.json", "config.json"):
        try:
            eos = json.loads((model_dir / name).read_text()).get("eos_token_id")
        except (OSError, ValueError):
            continue
        if eos is not None:
            return frozenset([eos] if isinstance(eos, int) else eos)
    return frozenset()
