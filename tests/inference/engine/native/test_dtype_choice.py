"""Which dtype is chosen for a model, and that it is measured only once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.engine.native import dtype_choice as choice
from inference.models import dtype_fidelity as fidelity


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 64)
    return tmp_path


def never(*_: object) -> torch.nn.Module:
    raise AssertionError("the model was loaded although its figures are kept")


def kept(folder: Path, **mean_kls: float) -> None:
    for dtype, mean_kl in mean_kls.items():
        fidelity.keep(folder, dtype, fidelity.Fidelity(mean_kl, 0.97, 100))


def test_the_fastest_dtype_within_the_limit_is_chosen(folder: Path) -> None:
    kept(folder, int4=0.004, int8=0.001)
    assert choice.best_dtype(folder, never)[0] == "int4"


def test_one_that_loses_too_much_is_passed_over(folder: Path) -> None:
    kept(folder, int4=0.02, int8=0.004)
    assert choice.best_dtype(folder, never)[0] == "int8"


def test_bfloat16_is_chosen_when_fewer_bits_lose_too_much_and_says_so(folder: Path) -> None:
    kept(folder, int4=0.02, int8=0.03)
    dtype, why = choice.best_dtype(folder, never)
    assert dtype == "bfloat16"
    assert "fewer bits exceed a mean KL of 0.005" in why


def test_a_model_without_a_tokenizer_is_served_in_bfloat16(tmp_path: Path) -> None:
    assert choice.best_dtype(tmp_path, never)[0] == "bfloat16"


def test_figures_of_other_weights_do_not_count(folder: Path, monkeypatch) -> None:
    kept(folder, int4=0.001)
    (folder / "model.safetensors").write_bytes(b"\1" * 64)
    measured = []
    monkeypatch.setattr(choice, "measure", lambda *args: measured.append(args[2]) or 0.5)
    assert choice.best_dtype(folder, never)[0] == "bfloat16"
    assert measured == ["int4", "int8"]
