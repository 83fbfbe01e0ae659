"""The same random weights as a model folder and as a GGUF."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from bench import shapes
from bench.shape_files import shape_folder, shape_gguf


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    config = {**shapes.SHAPES["tiny"].config, "num_hidden_layers": 2}
    monkeypatch.setitem(shapes.SHAPES, "tiny-qwen2", shapes.Shape("qwen2", config))
    return "tiny-qwen2"


def logits(folder: Path, **more: str) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more)
    with torch.no_grad():
        return model(torch.tensor([[5, 77, 400, 31, 8]])).logits


def test_the_gguf_is_the_same_model(tiny, tmp_path):
    folder, gguf = shape_folder(tiny, tmp_path), shape_gguf(tiny, tmp_path)
    expected = logits(folder)
    assert torch.allclose(logits(tmp_path, gguf_file=gguf.name), expected, atol=1e-3)
    assert expected.std() > 0.01, "or nothing was compared"


def test_files_are_made_once(tiny, tmp_path):
    weights = shape_folder(tiny, tmp_path) / "model.safetensors"
    before = weights.stat().st_mtime_ns, shape_gguf(tiny, tmp_path).stat().st_mtime_ns
    shape_folder(tiny, tmp_path)
    assert (weights.stat().st_mtime_ns, shape_gguf(tiny, tmp_path).stat().st_mtime_ns) == before


def test_a_family_that_lies_otherwise_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="only qwen2"):
        shape_gguf("tiny", tmp_path)
