"""What a model is made of, read from its configuration and the headers of its weights.

Loads no weights and needs no torch, so a page can show it before any worker has the model.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from inference.models.headers import TensorInfo, read_gguf, tensors_of, weight_files
from inference.text.model import context_length, read_json

PARTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # The first that matches counts: a norm behind the attention is called post_attention_layernorm.
    ("norms", re.compile(r"norm|\bln_|\.ln\d|layer_?norm")),
    ("embedding", re.compile(r"embed_tokens|token_embd|\bwte\b|\bwpe\b|embed_in|word_embeddings")),
    ("head", re.compile(r"lm_head|embed_out|^output\.weight")),
    ("attention", re.compile(r"attn|attention")),
    ("feed_forward", re.compile(r"mlp|ffn|feed_forward|expert|moe|router")),
)


def describe(folder: Path) -> dict[str, Any]:
    """A model folder in plain values, ready for JSON; sizes in bytes.

    `parts` counts parameters by part and adds up to `parameters`; a head that shares the
    embedding's weights has none of its own (`tied_head`). `kv_bytes_per_token` is for keys and
    values of 16 bits; windows and sharing between layers make it less. Raises BadWeights or
    ModelFolderError with a sentence.
    """
    files = weight_files(folder)
    tensors: dict[str, TensorInfo] = {}
    for file in files:
        tensors |= tensors_of(file)
    is_gguf = files[0].suffix == ".gguf"
    config = _gguf_config(files[0]) if is_gguf else read_json(folder / "config.json")
    text = config.get("text_config") or config
    parts = _parts(tensors)
    kinds = Counter(info.dtype for info in tensors.values() if len(info.shape) > 1)
    heads = text.get("num_attention_heads") or text.get("n_head")
    width = text.get("hidden_size") or text.get("n_embd")
    known = {
        "architecture": (config.get("architectures") or [text.get("model_type", "")])[0],
        "layers": text.get("num_hidden_layers") or text.get("n_layer"),
        "parameters": sum(parts.values()),
        "parts": parts,
        "tied_head": "head" not in parts,
        "hidden_size": width,
        "feed_forward_size": text.get("intermediate_size"),
        "query_heads": heads,
        "key_value_heads": text.get("num_key_value_heads") or heads,
        "head_size": _head_size(text, heads, width),
        "experts": text.get("num_local_experts") or text.get("num_experts"),
        "experts_per_token": text.get("num_experts_per_tok"),
        "sliding_window": text.get("sliding_window"),
        "vocabulary": text.get("vocab_size"),
        "context": context_length(config, {}),
        "dtype": ", ".join(kind for kind, _ in kinds.most_common()),
        "bytes": sum(file.stat().st_size for file in files),
        "kv_bytes_per_token": _kv_bytes_per_token(text, heads, width),
        "format": files[0].suffix.removeprefix("."),
        "revision": revision(folder),
        "quantised_before_as": read_json(folder / "origin.json").get("quantised_as"),
        "fidelity": {kind: _fidelity_text(found) for kind, found in _fidelity(folder).items()},
    }
    return {name: value for name, value in known.items() if value not in (None, {}, "")}


def revision(folder: Path) -> str:
    """Twelve hex digits that change when the model's answers could.

    Of the configuration, tokenizer and template files, and of the weight files' sizes, headers and
    64 samples each: reading all the weights would take longer than loading them.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                 "chat_template.jinja"):  # fmt: skip
        path = folder / name
        digest.update(f"{name}\0".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    for file in weight_files(folder):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(65536))
            for sample in range(64):
                stream.seek(sample * size // 64)
                digest.update(stream.read(4096))
    return digest.hexdigest()[:12]


def part_of(name: str) -> str:
    """The part of the model that a tensor of this name belongs to."""
    return next((part for part, pattern in PARTS if pattern.search(name)), "other")


def _parts(tensors: dict[str, TensorInfo]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name, info in tensors.items():
        counts[part_of(name)] += info.parameters
    order = ["embedding", "attention", "feed_forward", "norms", "head", "other"]
    return {part: counts[part] for part in order if counts[part]}


def _head_size(text: dict[str, Any], heads: int | None, width: int | None) -> int | None:
    if text.get("head_dim"):
        return int(text["head_dim"])
    return width // heads if heads and width else None


def _kv_bytes_per_token(text: dict[str, Any], heads: int | None, width: int | None) -> int | None:
    layers = text.get("num_hidden_layers") or text.get("n_layer")
    size = _head_size(text, heads, width)
    kv_heads = text.get("num_key_value_heads") or heads
    return math.prod([2, 2, layers, kv_heads, size]) if layers and kv_heads and size else None


def _gguf_config(file: Path) -> dict[str, Any]:
    """A GGUF's own fields under the names that config.json uses."""
    fields, tensors = read_gguf(file)
    kind = fields.get("general.architecture", "")

    def field(name: str) -> Any:
        return fields.get(f"{kind}.{name}")

    embedding = tensors.get("token_embd.weight")
    return {
        "model_type": kind,
        "num_hidden_layers": field("block_count"),
        "hidden_size": field("embedding_length"),
        "intermediate_size": field("feed_forward_length"),
        "num_attention_heads": field("attention.head_count"),
        "num_key_value_heads": field("attention.head_count_kv"),
        "head_dim": field("attention.key_length"),
        "max_position_embeddings": field("context_length"),
        "sliding_window": field("attention.sliding_window"),
        "num_experts": field("expert_count"),
        "num_experts_per_tok": field("expert_used_count"),
        "vocab_size": embedding.shape[0] if embedding else None,
    }


def _fidelity(folder: Path) -> dict[str, Any]:
    """What models/dtype_fidelity.py has kept beside the weights, if they are still the same."""
    kept = read_json(folder / "fidelity.json")
    return {} if kept.get("revision") != revision(folder) else dict(kept.get("dtypes", {}))


def _fidelity_text(found: dict[str, Any]) -> str:
    return (
        f"mean KL {found['mean_kl']:.4f}, same first choice {100 * found['agreement']:.1f} % "
        f"of {found['tokens']} tokens"
    )
