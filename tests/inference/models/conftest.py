"""A small random model in a folder of its own, and the allowed folder around it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("made") / "small"
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def small(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small model, in the models folder, to be spoiled at will."""
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    for path in _made.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("CHATSITE_MODELS", str(folder.parent))
    return folder
