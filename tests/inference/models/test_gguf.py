"""A GGUF becomes a folder with the weights that transformers would have read, in 16 bits."""

from __future__ import annotations

import warnings
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from inference.models import gguf_blocks, gguf_convert
from inference.models.headers import read_gguf_header

KINDS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
SIZES = {"block_count": 2, "context_length": 128, "embedding_length": 64, "feed_forward_length": 96}
HEADS, KV_HEADS, VOCABULARY = 4, 2, 96


def random_blocks(kind: str, count: int = 300) -> np.ndarray:
    """Blocks of any bits but those that make a scale infinite or no number."""
    _, size = gguf_blocks.block_size(kind)
    blocks = np.random.default_rng(0).integers(0, 256, (count, size), dtype=np.uint8)
    halves = blocks[:, : size // 2 * 2].view(np.float16)
    halves[~np.isfinite(halves) | (np.abs(halves) > 1)] = 0.5
    return blocks


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_become_the_numbers_that_the_gguf_package_reads(kind: str, monkeypatch) -> None:
    monkeypatch.setattr(gguf_blocks, "PIECE", 1 << 12)
    blocks = random_blocks(kind)
    expected = torch.from_numpy(gguf.dequantize(blocks, gguf.GGMLQuantizationType[kind])).reshape(
        -1
    )
    assert torch.equal(gguf_blocks.unpack_piece(blocks.copy(), kind), expected)
    assert torch.equal(gguf_blocks.unpack(blocks, kind), expected.half())


def test_numbers_too_large_for_float16_come_as_bfloat16() -> None:
    blocks = random_blocks("Q8_0")
    blocks[:, :2].view(np.float16)[5] = 6e4
    expected = torch.from_numpy(gguf.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0)).reshape(-1)
    assert torch.equal(gguf_blocks.unpack(blocks, "Q8_0"), expected.bfloat16())


@pytest.mark.parametrize(("kind", "dtype"), [("F32", np.float32), ("F16", np.float16)])
def test_plain_numbers_stay_as_they_are(kind: str, dtype: type) -> None:
    numbers = np.linspace(-1e-3, 7, 64, dtype=dtype)
    got = gguf_blocks.unpack(numbers.view(np.uint8), kind)
    assert np.array_equal(got.numpy(), numbers)
    assert got.numpy().dtype == dtype


def small_gguf(path: Path, architecture: str, *, tied: bool) -> Path:
    """A random model: norms in float32, matrices of several kinds."""
    writer = gguf.GGUFWriter(str(path), architecture)
    for name, value in SIZES.items():
        writer.add_uint32(f"{architecture}.{name}", value)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list([f"t{i}" for i in range(VOCABULARY)])
    writer.add_token_merges(["t 1", "t 2"])
    random = np.random.default_rng(1)
    width, inner, kv = 64, 96, 64 * KV_HEADS // HEADS

    def add(name: str, shape: tuple[int, ...], kind: str = "F32") -> None:
        values = random.normal(0, 0.1, shape).astype(np.float32)
        number = gguf.GGMLQuantizationType[kind]
        packed = values if kind == "F32" else gguf.quantize(values, number)
        writer.add_tensor(name, packed, raw_dtype=number)

    add("token_embd.weight", (VOCABULARY, width), "Q5_0")
    add("output_norm.weight", (width,))
    if not tied:
        add("output.weight", (VOCABULARY, width), "Q8_0")
    for layer in range(SIZES["block_count"]):
        for name, shape, kind in (
            ("attn_q", (width, width), "Q4_1"), ("attn_k", (kv, width), "Q4_0"),
            ("attn_v", (kv, width), "Q8_0"), ("attn_output", (width, width), "F16"),
            ("ffn_gate", (inner, width), "Q5_1"), ("ffn_up", (inner, width), "Q4_0"),
            ("ffn_down", (width, inner), "Q8_0"), ("attn_norm", (width,), "F32"),
            ("ffn_norm", (width,), "F32"),
        ):  # fmt: skip
            add(f"blk.{layer}.{name}.weight", shape, kind)
            if architecture == "qwen2" and name in ("attn_q", "attn_k", "attn_v"):
                add(f"blk.{layer}.{name}.bias", shape[:1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_folder_holds_what_transformers_reads_rounded_once(
    tmp_path: Path, architecture: str, tied: bool
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    file = small_gguf(tmp_path / "model.gguf", architecture, tied=tied)
    folder, lines = tmp_path / "folder", []
    folder.mkdir()
    header = read_gguf_header(file)
    with gguf_convert.quick_reading(file, header):
        gguf_convert.write_model(file, header, folder, lines.append)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = AutoModelForCausalLM.from_pretrained(
            tmp_path, gguf_file=file.name, dtype=torch.float32
        )
    got = load_file(folder / "model.safetensors")
    theirs = expected.state_dict()
    assert set(got) == set(theirs) - ({"lm_head.weight"} if tied else set())
    for name, tensor in got.items():
        assert torch.equal(tensor, theirs[name].to(tensor.dtype)), name
        is_plain = tensor.ndim == 1
        assert tensor.dtype == (torch.float32 if is_plain else torch.float16), name
    own, reference = AutoConfig.from_pretrained(folder).to_dict(), expected.config.to_dict()
    for config in (own, reference):
        for key in ("dtype", "quantization_config", "_name_or_path"):
            config.pop(key, None)
    assert own == {**reference, "architectures": own["architectures"]}
    assert len(lines) == gguf_convert.PROGRESS_STEPS

    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert torch.equal(loaded.get_output_embeddings().weight, loaded.state_dict()["lm_head.weight"])


def test_what_is_not_put_together_tensor_by_tensor_is_told(tmp_path: Path) -> None:
    file = small_gguf(tmp_path / "model.gguf", "qwen2moe", tied=False)
    header = read_gguf_header(file)
    with (
        gguf_convert.quick_reading(file, header),
        pytest.raises(gguf_convert.NotConvertible, match="qwen2moe"),
    ):
        gguf_convert.write_model(file, header, tmp_path, print)


def test_transformers_reads_files_its_own_way_again_afterwards(tmp_path: Path) -> None:
    file = small_gguf(tmp_path / "model.gguf", "llama", tied=True)
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    with gguf_convert.quick_reading(file, read_gguf_header(file)):
        assert gguf.GGUFReader is not before[0]
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before
