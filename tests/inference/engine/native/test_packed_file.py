"""The second start: packed weights taken from the file that the first one left, or packed anew."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine.backends.base import Unsupported
from inference.engine.config import EngineConfig
from inference.engine.loader import folder_loader
from inference.engine.model_runner import ModelRunner
from inference.engine.native import packed_file
from inference.engine.native.native_backend import NativeBackend
from inference.engine.native.packed_file import packed_path
from tests.inference.engine.conftest import small_model

SLIDING = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},  # has biases
    "qwen3": {},  # norms of queries and keys
    "gemma3_text": {**SLIDING, "query_pre_attn_scalar": 32},  # four norms, two kinds of rope
    "granite": {"residual_multiplier": 0.5, "embedding_multiplier": 3.0, "logits_scaling": 2.0},
    "smollm3": {},  # layers without rope
}
IDS = torch.arange(3, 60)


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    try:
        NativeBackend(dtype="int4")
    except Unsupported as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a model folder of that family."""

    def make(kind: str = "llama", **changes: Any) -> Path:
        path = tmp_path / kind
        small_model(kind, **{**FAMILIES[kind], **changes}).save_pretrained(path)
        return path

    return make


def start(folder: Path, dtype: str = "int4", *, loads: bool = True) -> ModelRunner:
    """A start of the engine's model; with `loads` False one that may not read the weights."""

    def refuse(*_: object) -> torch.nn.Module:
        raise AssertionError("the weights were read although packed ones lie there")

    config = EngineConfig(
        model_dir=folder, dtype=dtype, backend="native", device="cpu", threads=1,
        measure=False, kv_cache_bytes=8 << 20,
    )  # fmt: skip
    load = folder_loader(folder).load_model if loads else refuse
    return ModelRunner(config, load=load, packed_in=folder)


def logits(runner: ModelRunner) -> torch.Tensor:
    from inference.engine.backends.step_batch import sequence_batch

    backend = runner.backend
    return backend.forward(sequence_batch(IDS, block_tokens=backend.block_tokens))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_second_start_reads_no_weights_and_gives_the_same_bits(folder, monkeypatch, kind) -> None:
    path = folder(kind)
    monkeypatch.setenv(packed_file.VARIABLE, "off")
    expected = logits(start(path))
    monkeypatch.delenv(packed_file.VARIABLE)
    first, second = start(path), start(path, loads=False)
    assert torch.equal(logits(first), expected)
    assert torch.equal(logits(second), expected)
    assert first.sizes == second.sizes
    assert any("packed by an earlier start" in note for note in second.notes)


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
def test_an_embedding_takes_no_more_bits_than_its_file_had(tmp_path, stored) -> None:
    path = tmp_path / "model"
    small_model("llama").to(stored).save_pretrained(path)
    first = start(path)
    assert first.backend._ends.embedding.dtype == stored
    (path / "packed-int4.bin").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(packed_file.VARIABLE, "off")
        assert torch.equal(logits(start(path)), logits(first))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int8"])
def test_every_dtype_has_a_file_of_its_own(folder, dtype: str) -> None:
    path = folder()
    start(path)
    expected = logits(start(path, dtype))
    assert torch.equal(logits(start(path, dtype, loads=False)), expected)
    assert {file.name for file in path.glob("packed-*")} == {
        "packed-int4.bin",
        f"packed-{dtype}.bin",
    }


@pytest.mark.parametrize("way", ["mapped", "copied"])
def test_mapped_and_copied_weights_give_the_same_bits(folder, monkeypatch, way: str) -> None:
    path = folder()
    expected = logits(start(path))
    monkeypatch.setenv(packed_file.VARIABLE, way)
    assert torch.equal(logits(start(path, loads=False)), expected)


def test_a_mapping_without_large_pages_is_read_into_some(folder, monkeypatch) -> None:
    path = folder()
    expected = logits(start(path))
    monkeypatch.setattr(packed_file.memory, "bring_in", lambda mapped: 0.5)
    runner = start(path, loads=False)
    assert torch.equal(logits(runner), expected)
    assert any("into large pages of this process" in note for note in runner.notes)


def test_only_its_owner_may_read_the_file_and_nothing_else_is_left(folder) -> None:
    path = folder()
    before = {file.name for file in path.iterdir()}
    start(path)
    found = packed_path(path, "int4")
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    assert {file.name for file in path.iterdir()} - before == {found.name}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def cut_in_the_middle(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:4096] + data[8192:])


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)


def open_to_others(file: Path) -> None:
    file.chmod(0o622)


def put_a_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


@pytest.mark.parametrize("spoil", [cut, cut_in_the_middle, damage, open_to_others, put_a_link])
def test_a_spoilt_file_is_not_used_and_is_made_anew(folder, spoil: Callable[[Path], None]) -> None:
    path = folder()
    expected = logits(start(path))
    spoil(packed_path(path, "int4"))
    with pytest.raises(AssertionError, match="the weights were read"):
        start(path, loads=False)
    assert torch.equal(logits(start(path)), expected)
    assert torch.equal(logits(start(path, loads=False)), expected)


def test_packed_weights_of_other_weights_are_not_used(folder, tmp_path: Path) -> None:
    path = folder()
    start(path)
    other = small_model("llama", initializer_range=0.5)
    with torch.no_grad():
        other.model.norm.weight += 1
    other.save_pretrained(path)
    with pytest.raises(AssertionError, match="the weights were read"):
        start(path, loads=False)


def test_weights_changed_in_one_place_count_as_others(folder) -> None:
    path = folder()
    start(path)
    weights = path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(AssertionError, match="the weights were read"):
        start(path, loads=False)


def test_a_full_disk_is_told_and_the_model_is_served_all_the_same(folder, monkeypatch) -> None:
    path = folder()
    usage = shutil.disk_usage(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    runner = start(path)
    assert any("too little space" in note for note in runner.notes)
    assert not list(path.glob("*packed*"))
    assert logits(runner).isfinite().all()


def test_a_writer_that_was_killed_does_not_hold_up_the_next_one(folder) -> None:
    path = folder()
    (path / ".packed-int4.bin.part").write_bytes(b"half a file")
    start(path)
    assert [file.name for file in path.glob(".packed*")] == []
    logits(start(path, loads=False))


def test_two_writers_at_once_are_one_writer(folder, tmp_path: Path) -> None:
    target = tmp_path / "packed-int4.bin"
    with (
        packed_file.PackedWriter(target, needed=100),
        pytest.raises(packed_file.Unusable, match="another process is writing"),
    ):
        packed_file.PackedWriter(target, needed=100)
    assert not target.exists()


def test_a_model_whose_layers_are_not_fused_packs_at_every_start(folder, tmp_path: Path) -> None:
    path = tmp_path / "mixtral"
    small_model("mixtral", num_local_experts=4).save_pretrained(path)
    assert logits(start(path)).isfinite().all()
    assert not list(path.glob("packed-*"))
