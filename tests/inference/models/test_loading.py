"""Weights come from safetensors or GGUF in allowed folders; the rest is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.models import dtype_fidelity as fidelity
from inference.models.describe import describe
from inference.models.headers import BadWeights
from inference.models.loading import load_model
from inference.text import ModelFolderError


def test_a_model_is_loaded_in_the_dtype_asked_for(small: Path) -> None:
    loaded = load_model("small", dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
    assert not loaded.model.training
    assert loaded.revision == describe(small)["revision"]


def test_a_folder_elsewhere_is_refused(tmp_path: Path, small: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    small.rename(elsewhere)
    with pytest.raises(ModelFolderError):
        load_model(elsewhere, dtype=torch.float32)


def test_a_pickle_is_never_opened(small: Path) -> None:
    (small / "model.safetensors").rename(small / "pytorch_model.bin")
    with pytest.raises(BadWeights, match="pickled"):
        load_model("small", dtype=torch.float32)


def test_half_a_file_is_refused_in_a_sentence(small: Path) -> None:
    weights = small / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(BadWeights, match="can't be loaded"):
        load_model("small", dtype=torch.float32)


def test_float16_on_a_cpu_is_refused(small: Path) -> None:
    with pytest.raises(BadWeights, match="float16 is for GPUs"):
        load_model("small", dtype=torch.float16)


def test_fidelity_is_what_its_definition_says() -> None:
    reference = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    candidate = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    found = fidelity.compare(reference, candidate)
    p, q = torch.softmax(reference[1], 0), torch.softmax(candidate[1], 0)
    kl = float((p * (p / q).log()).sum())
    assert found.mean_kl == pytest.approx(kl / 2, rel=1e-5)
    assert (found.agreement, found.tokens) == (0.5, 2)


def test_fidelity_is_kept_with_the_weights_it_was_measured_on(small: Path) -> None:
    fidelity.keep(small, "int8", fidelity.Fidelity(0.004, 0.95, 200))
    fidelity.keep(small, "int4", fidelity.Fidelity(0.003, 0.96, 200))
    assert describe(small)["fidelity"] == {
        "int8": "mean KL 0.0040, same first choice 95.0 % of 200 tokens",
        "int4": "mean KL 0.0030, same first choice 96.0 % of 200 tokens",
    }
    data = bytearray((small / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (small / "model.safetensors").write_bytes(data)
    assert "fidelity" not in describe(small)
