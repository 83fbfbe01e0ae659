"""Ten families and more, small and random: served as transformers would, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from inference.engine.backends.base import Unsupported
from inference.engine.backends.probe import probe_layers

from .conftest import generate, prompt_of, small_model

pytestmark = pytest.mark.slow

ALTERNATING = ["sliding_attention", "full_attention"] * 2
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}

SERVED: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": EXPERTS,
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 64},
    "gemma2": {"sliding_window": 16, "query_pre_attn_scalar": 32},
    "gemma3_text": {
        "sliding_window": 16,
        "layer_types": ALTERNATING,
        "query_pre_attn_scalar": 32,
    },
    "mistral": {"sliding_window": 16},
    "mixtral": {"num_local_experts": 4},
    "gpt_oss": {
        "sliding_window": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "layer_types": ALTERNATING,
    },
    "phi3": {},
    "olmo2": {},
    "granite": {},
    "smollm3": {},
    "glm4": {},
    "cohere2": {"sliding_window": 16},
    "starcoder2": {},
    "gpt_neox": {"num_attention_heads": 4},
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "head_dim": 16,
        "q_lora_rank": 32,
        "kv_lora_rank": 32,
        "qk_rope_head_dim": 16,
        "qk_nope_head_dim": 16,
        "v_head_dim": 24,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 32,
        "first_k_dense_replace": 1,
    },
}
PROMPTS = [prompt_of(n, seed=n) for n in (5, 23, 40, 11)]


@pytest.mark.parametrize("kind", SERVED)
def test_greedy_equals_generate_past_the_window(kind, bench):
    model = small_model(kind, **SERVED[kind])
    engine = bench(model, step_tokens=32, max_running=8)
    ids = [engine.ask(prompt, max_tokens=40) for prompt in PROMPTS]
    for prompt, request_id in zip(PROMPTS, ids, strict=True):
        assert engine.listener.tokens(request_id) == generate(model, prompt, 40)


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("mamba", {"num_hidden_layers": 2}, "mamba"),
        (
            "qwen3_next",
            {"layer_types": ["linear_attention", "full_attention"] * 2, **EXPERTS},
            "linear_attention",
        ),
        ("lfm2", {"layer_types": ["conv", "full_attention"] * 2}, "conv"),
    ],
)
def test_a_memory_that_is_not_keys_and_values_is_refused_by_name(kind, changes, reason):
    with pytest.raises(Unsupported, match=reason) as refused:
        probe_layers(small_model(kind, **changes))
    assert kind in str(refused.value)
