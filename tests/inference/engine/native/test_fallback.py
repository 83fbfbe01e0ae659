"""What serves where the kernels can't, and that it says why."""

from __future__ import annotations

import copy
import json
import zipfile

import pytest
import torch

from inference.engine.backend_choice import choose_backend
from inference.engine.backends import fbgemm_backend
from inference.engine.backends.base import Backend, Unsupported
from inference.engine.backends.probe import probe_layers
from inference.engine.backends.step_batch import sequence_batch
from inference.engine.native import build, isa, prebuilt, wheel
from inference.engine.native import native_backend as native
from inference.engine.native.build import KernelsUnavailable
from tests.inference.engine.conftest import small_model

CPU = torch.device("cpu")


def refuse() -> None:
    raise KernelsUnavailable("there is no C++ compiler (c++) to build the kernels with")


def logits(backend: Backend, model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    backend.prepare(model.to(backend.load_dtype), probe_layers(model))
    backend.allocate_cache(8)
    return backend.forward(sequence_batch(ids, block_tokens=backend.block_tokens))


def test_without_kernels_onednn_serves_and_agrees_with_them(kernels, monkeypatch) -> None:
    model, ids = small_model("llama"), torch.arange(3, 50)
    mine = logits(choose_backend("auto", dtype="bfloat16", device=CPU), copy.deepcopy(model), ids)
    monkeypatch.setattr(native, "load_kernels", refuse)
    other = choose_backend("auto", dtype="bfloat16", device=CPU)
    assert other.name == "onednn bfloat16"
    assert "no C++ compiler" in other.notes[0]
    theirs = logits(other, model, ids)
    assert (theirs - mine).norm() / mine.norm() < 0.03
    assert (theirs.argmax(-1) == mine.argmax(-1)).float().mean() > 0.9


def test_without_bf16_and_kernels_fbgemm_serves_and_gives_what_float32_gives(monkeypatch) -> None:
    """A CPU with AVX2 alone and no compiler: half the bytes, the same first choices."""
    if fbgemm_backend.best_dtype() != "float16":
        pytest.skip("this torch has no FBGEMM")
    monkeypatch.setattr(native, "load_kernels", refuse)
    model, ids = small_model("qwen2"), torch.arange(3, 50)
    backend = choose_backend("auto", dtype="float16", device=CPU)
    expected = logits(
        choose_backend("torch", dtype="float32", device=CPU), copy.deepcopy(model), ids
    )
    got = logits(backend, model, ids)
    assert backend.name == "fbgemm float16"
    assert "no C++ compiler" in backend.notes[0]
    assert (got - expected).norm() / expected.norm() < 0.002
    assert torch.equal(got.argmax(-1), expected.argmax(-1))
    assert backend.weight_bytes() < 2.1 * sum(p.numel() for p in small_model("qwen2").parameters())


def test_a_machine_without_a_compiler_is_told_what_would_make_it_faster(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("CHATSITE_KERNELS", str(tmp_path))
    monkeypatch.setattr(prebuilt, "PACKAGE", "chatsite_kernels_that_nobody_installed")
    with pytest.raises(KernelsUnavailable, match=r"no C\+\+ compiler.*apt install.*make wheel"):
        build._load.__wrapped__(isa.find("scalar"))


def test_an_installed_wheel_serves_where_there_is_no_compiler(monkeypatch, tmp_path) -> None:
    """The wheel holds a set's library under its name, with what it was built for beside it."""
    library = (
        tmp_path
        / "chatsite_kernels"
        / "scalar"
        / f"{prebuilt.module_name('scalar')}{prebuilt.SUFFIX}"
    )
    files = {
        "chatsite_kernels/__init__.py": b"",
        f"chatsite_kernels/scalar/{library.name}": b"a library",
        "chatsite_kernels/manifest.json": json.dumps(
            prebuilt.built_for(build.source_key())
        ).encode(),
    }
    made = wheel.write_wheel(tmp_path / "dist", files)
    with zipfile.ZipFile(made) as archive:
        archive.extractall(tmp_path)
        assert f"{made.name.split('-cp')[0]}.dist-info/RECORD" in archive.namelist()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("CHATSITE_KERNELS", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_import", lambda path, target: path)
    assert build._load.__wrapped__(isa.find("scalar")) == library
    (tmp_path / "chatsite_kernels" / "manifest.json").write_text('{"sources": "others"}')
    with pytest.raises(KernelsUnavailable, match="built for other sources"):
        build._load.__wrapped__(isa.find("scalar"))


def test_kernels_that_were_asked_for_and_cannot_run_are_an_error_with_the_reason(
    monkeypatch,
) -> None:
    monkeypatch.setattr(native, "load_kernels", refuse)
    with pytest.raises(Unsupported, match="no C\\+\\+ compiler"):
        choose_backend("native", dtype="int4", device=CPU)


def test_a_cpu_without_the_instructions_is_refused_by_name(monkeypatch) -> None:
    monkeypatch.setattr(isa, "cpu_features", lambda: frozenset({"avx2", "avx512_f"}))
    monkeypatch.setenv("CHATSITE_ISA", "avx512")
    with pytest.raises(KernelsUnavailable, match="avx512_bf16"):
        build.load_kernels()


def test_sources_that_do_not_compile_are_a_reason_and_not_a_crash(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken.cpp").write_text("this is not C++")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.setenv("CHATSITE_KERNELS", str(tmp_path / "cache"))
    with pytest.raises(KernelsUnavailable, match="did not compile"):
        build._load.__wrapped__(isa.find("scalar"))
