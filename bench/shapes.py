"""Shapes of well-known models, to be measured with random weights.

Speed depends on a model's shape, not on what its weights say. `random_model` needs torch and
transformers; the shapes alone need nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """A family by transformers' name, and its configuration."""

    family: str
    config: dict[str, Any]

    @property
    def head_parameters(self) -> int:
        """Of the output head, which is the embedding too where they are tied."""
        return int(self.config["vocab_size"] * self.config["hidden_size"])

    @property
    def body_parameters(self) -> int:
        """Of the layers' matrices; norms and biases are less than a thousandth of them."""
        of = self.config
        queries, keys = of["hidden_size"], self.kv_width
        attention = of["hidden_size"] * (2 * queries + 2 * keys)
        layer = attention + 3 * of["hidden_size"] * of["intermediate_size"]
        return int(of["num_hidden_layers"] * layer)

    @property
    def kv_width(self) -> int:
        """Of one layer's keys of a token."""
        of = self.config
        return int(of["num_key_value_heads"] * of["hidden_size"] // of["num_attention_heads"])

    @property
    def kv_values_per_token(self) -> int:
        """Keys and values of all layers."""
        return int(2 * self.kv_width * self.config["num_hidden_layers"])


def _llama_like(
    *,
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    feed_forward: int,
    vocab: int,
    **more: Any,
) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": feed_forward,
        "vocab_size": vocab,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **more,
    }


SHAPES = {
    "smollm2-135m": Shape("llama", _llama_like(
        layers=30, width=576, heads=9, kv_heads=3, feed_forward=1536, vocab=49_152,
        max_position_embeddings=8192, tie_word_embeddings=True,
    )),
    "qwen2.5-0.5b": Shape("qwen2", _llama_like(
        layers=24, width=896, heads=14, kv_heads=2, feed_forward=4864, vocab=151_936,
        max_position_embeddings=32_768, tie_word_embeddings=True,
    )),
    "qwen2.5-7b": Shape("qwen2", _llama_like(
        layers=28, width=3584, heads=28, kv_heads=4, feed_forward=18_944, vocab=152_064,
        max_position_embeddings=32_768, tie_word_embeddings=False,
    )),
    "tiny": Shape("llama", _llama_like(
        layers=2, width=64, heads=4, kv_heads=2, feed_forward=96, vocab=512,
        max_position_embeddings=1024, tie_word_embeddings=True,
    )),
}  # fmt: skip


def random_model(shape: str, dtype: Any, device: Any, **changes: Any) -> Any:
    """A model of that shape, made on the device, in evaluation mode. Raises KeyError.

    `changes` go into its configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    found = SHAPES[shape]
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(found.family, **{**found.config, **changes}), dtype=dtype
        )
    model.generation_config.eos_token_id = None
    return model.eval()
