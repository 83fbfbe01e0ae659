"""The native backend on small random models of many families, against transformers' own output."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch

from inference.engine.backends.base import Unsupported
from inference.engine.backends.probe import probe_layers
from inference.engine.backends.step_batch import StepBatch
from inference.engine.native import NativeBackend
from tests.inference.engine.conftest import small_model

SLIDING = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2}
FUSED: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 16},
    "gemma2": {**SLIDING, "query_pre_attn_scalar": 32},
    "gemma3_text": {**SLIDING, "query_pre_attn_scalar": 32},
    "granite": {"residual_multiplier": 0.5, "embedding_multiplier": 3.0, "logits_scaling": 2.0},
    "smollm3": {},
    "phi3": {},
}
KEPT: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {**SLIDING, "num_local_experts": 4, "num_experts_per_tok": 2},
    "olmo2": {},
    "starcoder2": {},
    "glm4": {},
}
PROMPTS = (5, 23, 40, 70)


def serve(model: Any, dtype: str = "bfloat16") -> NativeBackend:
    backend = NativeBackend(dtype=dtype)
    backend.prepare(model, probe_layers(model))
    backend.allocate_cache(1 + 4 * len(PROMPTS))
    return backend


def step(backend: NativeBackend, parts: list[tuple[int, int, list[int]]]) -> list[torch.Tensor]:
    """Run tokens of sequences, given as (sequence, first position, tokens); logits of each."""
    size, at = backend.block_tokens, 0
    columns: list[list[int]] = [[], [], [], []]
    starts = [0]
    for row, (sequence, begin, tokens) in enumerate(parts):
        for position, token in enumerate(tokens, begin):
            block = 1 + sequence * 4 + position // size
            values = (token, position, block * size + position % size, row)
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        at += len(tokens)
        starts.append(at)
    table = [[1 + sequence * 4 + i for i in range(4)] for sequence, _, _ in parts]
    batch = StepBatch(
        *(torch.tensor(column) for column in columns),
        block_table=torch.tensor(table, dtype=torch.int32),
        logits_at=torch.arange(at),
        query_starts=starts,
        context_lens=[begin + len(tokens) for _, begin, tokens in parts],
    )
    return list(backend.forward(batch).split([len(tokens) for _, _, tokens in parts]))


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 500, (n,), generator=generator).tolist() for n in PROMPTS]


@cache
def reference(kind: str) -> tuple[Any, list[torch.Tensor], float]:
    """A model, its logits for the prompts, and how far off transformers' own bfloat16 is."""
    model = small_model(kind, **{**FUSED, **KEPT}[kind])
    ids = [torch.tensor([text]) for text in prompts()]
    expected = [model(each).logits[0] for each in ids]
    half = copy.deepcopy(model).bfloat16()
    theirs = max(
        distance(half(each).logits[0].float(), logits)
        for each, logits in zip(ids, expected, strict=True)
    )
    return model, expected, theirs


def distance(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", [*FUSED, *KEPT])
def test_logits_agree_with_transformers_past_the_window_and_in_mixed_steps(kind: str) -> None:
    model, expected, theirs = reference(kind)
    backend = serve(copy.deepcopy(model))
    texts = prompts()
    # First half of each prompt as one step, the rest mixed with single tokens of another.
    first = step(backend, [(i, 0, text[: len(text) // 2]) for i, text in enumerate(texts)])
    rest = step(
        backend, [(i, len(text) // 2, text[len(text) // 2 :]) for i, text in enumerate(texts)]
    )
    for a, b, e in zip(first, rest, expected, strict=True):
        assert distance(torch.cat([a, b]), e) < max(0.02, 1.2 * theirs), backend.notes


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 0.01), ("float16", 0.01)])
def test_weights_of_more_bits_lose_what_attention_rounds_and_no_more(dtype, bound) -> None:
    model, tokens = small_model("llama"), prompts()[3]
    expected = copy.deepcopy(model)(torch.tensor([tokens])).logits[0]
    assert distance(step(serve(model, dtype), [(3, 0, tokens)])[0], expected) < bound


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", FUSED)
def test_these_families_are_fused_whole(kind: str) -> None:
    backend = serve(small_model(kind, **FUSED[kind]))
    assert "fused 4 of 4 layers" in backend.notes


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", KEPT)
def test_other_layers_stay_as_they_are_and_the_reason_is_told(kind: str) -> None:
    backend = serve(small_model(kind, **KEPT[kind]))
    assert backend.notes[0].startswith("fused 0 of 4 layers: ")


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4", "float32", "float16"])
@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "smollm3"])
def test_decode_and_prefill_alone_and_together_give_the_same_bits(kind: str, dtype: str) -> None:
    backend = serve(small_model(kind, **FUSED[kind]), dtype)
    texts = prompts()
    together = step(backend, [(i, 0, text) for i, text in enumerate(texts)])
    for i, text in enumerate(texts[:3]):
        alone = [step(backend, [(i, at, [token])])[0] for at, token in enumerate(text)]
        assert torch.equal(torch.cat(alone), together[i])


@pytest.mark.usefixtures("kernels")
def test_a_step_may_have_more_tokens_than_any_context_has_positions() -> None:
    backend, tokens = serve(small_model("llama")), prompts()[3]
    alone = step(backend, [(3, 0, tokens)])[0]
    assert all(torch.equal(logits, alone) for logits in step(backend, [(3, 0, tokens)] * 16))


@pytest.mark.usefixtures("kernels")
def test_a_layer_that_lies_about_its_parts_is_found_out() -> None:
    model = small_model("llama")
    layer = model.model.layers[2]
    own = layer.forward
    layer.forward = lambda *args, **kwargs: own(*args, **kwargs) * 1.1
    backend = serve(model)
    assert backend.notes[0].startswith("fused 0 of 4 layers: layer 2 gives something else")


@pytest.mark.usefixtures("kernels")
def test_dtypes_and_heads_it_cannot_serve_are_refused_with_a_reason() -> None:
    with pytest.raises(Unsupported, match="float64"):
        NativeBackend(dtype="float64")
    model = small_model("llama", head_dim=24)
    with pytest.raises(Unsupported, match="multiple of 32"):
        serve(model)
