"""Files of a shape with random weights: a model folder, and the same weights as a GGUF for llama.cpp.

Both are BF16, made once and kept under var/bench/shapes. There is no tokenizer: prompts come as
token ids. Of the families in bench/shapes.py, those whose layers are llama's or Qwen2's.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from bench.shapes import SHAPES, random_model

RMS_EPSILON = 1e-6
ROPE_BASE = 1e6
NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Of a layer, as transformers and as llama.cpp call it."""


def shape_folder(shape: str, root: Path) -> Path:
    """The model folder of that shape below `root`; made if it isn't there. Raises KeyError."""
    folder = root / shape
    if not (folder / "model.safetensors").exists():
        import torch

        beside = root / f".{shape}.part"
        shutil.rmtree(beside, ignore_errors=True)
        model = random_model(
            shape, torch.bfloat16, "cpu", rms_norm_eps=RMS_EPSILON, rope_theta=ROPE_BASE
        )
        model.save_pretrained(beside)
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    return folder


def shape_gguf(shape: str, root: Path) -> Path:
    """The same weights as a GGUF in BF16; made if it isn't there. The family must be qwen2."""
    path = root / f"{shape}.gguf"
    if not path.exists():
        beside = path.with_suffix(".part")
        _write_gguf(shape, shape_folder(shape, root), beside)
        beside.rename(path)
    return path


def _write_gguf(shape: str, folder: Path, path: Path) -> None:
    import gguf
    from safetensors import safe_open

    found = SHAPES[shape]
    if found.family != "qwen2":  # llama's queries and keys lie in another order there
        raise ValueError(f"{shape} is of the family {found.family}; only qwen2 is written as GGUF.")
    of = found.config
    out = gguf.GGUFWriter(path, found.family)
    out.add_context_length(of["max_position_embeddings"])
    out.add_embedding_length(of["hidden_size"])
    out.add_block_count(of["num_hidden_layers"])
    out.add_feed_forward_length(of["intermediate_size"])
    out.add_head_count(of["num_attention_heads"])
    out.add_head_count_kv(of["num_key_value_heads"])
    out.add_layer_norm_rms_eps(RMS_EPSILON)
    out.add_rope_freq_base(ROPE_BASE)
    out.add_vocab_size(of["vocab_size"])
    out.add_tokenizer_model("none")
    out.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - not a dictionary
            _add(out, _name(name), weights.get_tensor(name), gguf)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _add(out: Any, name: str, tensor: Any, gguf: Any) -> None:
    """Matrices as they are, in BF16; llama.cpp wants vectors in float32."""
    if tensor.ndim == 1:
        out.add_tensor(name, tensor.float().numpy())
        return
    kind = gguf.GGMLQuantizationType.BF16
    raw = gguf.quants.quantize(np.ascontiguousarray(tensor.float().numpy()), kind)
    out.add_tensor(name, raw, raw_dtype=kind)


def _name(name: str) -> str:
    """llama.cpp's name of one of transformers' tensors."""
    ends = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in ends:
        return ends[name]
    _, _, number, rest = name.split(".", 3)
    for theirs, ours in NAMES.items():
        if rest.startswith(theirs):
            return f"blk.{number}.{ours}{rest.removeprefix(theirs)}"
    raise ValueError(f"nothing is known of a tensor named {name}")
