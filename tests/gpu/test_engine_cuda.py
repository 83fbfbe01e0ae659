"""The engine on a real GPU: captured decodes and paged flash attention against the reference."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from inference.contract import Stamp
from inference.engine.backends.int8_linear import Int8Linear, find_kernel
from inference.engine.config import EngineConfig
from inference.engine.core import Core
from inference.engine.loader import TextArtifacts
from inference.engine.model_runner import ModelRunner
from tests.inference.engine.conftest import Bench, generate, prompt_of, small_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

PROMPTS = [prompt_of(n, seed=n) for n in (5, 123, 40, 11, 77, 64, 1, 200)]


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model(hidden_size=256, head_dim=64, intermediate_size=512)


def engine(model: Any, **config: Any) -> Bench:
    return Bench(model.to("cuda"), device="cuda", kv_cache_bytes=256 << 20, **config)


def test_float32_greedy_equals_generate(model):
    expected = [generate(model.to("cpu"), prompt, 24) for prompt in PROMPTS]
    one = engine(model, dtype="float32")
    try:
        ids = [one.ask(prompt, max_tokens=24) for prompt in PROMPTS]
        assert [one.listener.tokens(request_id) for request_id in ids] == expected
    finally:
        one.engine.stop()


def test_captured_decodes_answer_like_eager_ones(model):
    half = model.to(torch.bfloat16)
    fast, plain = engine(half, dtype="bfloat16"), engine(half, dtype="bfloat16", backend="torch")
    try:
        assert fast.answer(PROMPTS[0], max_tokens=8)
        assert "cuda graphs" in fast.engine.status().path, fast.engine.status().notes
        a = fast.ask(PROMPTS[3], max_tokens=1, logprobs=5)
        b = plain.ask(PROMPTS[3], max_tokens=1, logprobs=5)
        assert fast.listener.tokens(a) == plain.listener.tokens(b)
        top_a, top_b = (
            dict(one.listener.deltas(request)[0].logprobs[0].top)
            for one, request in ((fast, a), (plain, b))
        )
        for token in top_a.keys() & top_b.keys():
            assert top_a[token] == pytest.approx(top_b[token], abs=0.1)
    finally:
        fast.engine.stop()
        plain.engine.stop()


def test_a_decode_step_waits_for_the_device_once(model):
    config = EngineConfig(
        model_dir=None,  # type: ignore[arg-type]
        dtype="bfloat16",
        device="cuda",
        kv_cache_bytes=256 << 20,
        measure=False,
    )
    half = model.to("cuda", torch.bfloat16)
    core = Core(config, ModelRunner(config, load=lambda *_: half), TextArtifacts())
    bench = Bench.__new__(Bench)
    bench._count = 0
    bench.engine = type(
        "Door", (), {"submit": staticmethod(lambda request: core.admit(request, Stamp.now()))}
    )()
    for n, prompt in enumerate(PROMPTS):
        bench.ask(prompt, max_tokens=50, temperature=0.8 if n % 2 else 0.0, top_p=0.9)
    for _ in range(20):
        core.step()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(10):
                core.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    syncs = [w for w in caught if "synchroniz" in str(w.message)]
    assert len(syncs) <= 10, "one per step: the sampled tokens"


def test_int8_weights_are_multiplied_as_bytes(model):
    """Few rows by the kernel, many by torch; both close to the weights as they were."""
    half = model.to("cuda", torch.bfloat16)
    kernel, why = find_kernel(torch.device("cuda"), torch.bfloat16)
    assert kernel is not None, why
    linear = half.model.layers[0].mlp.up_proj
    packed = Int8Linear(linear, multiply_few=kernel)
    for rows in (1, 7, 33, 127, 300):
        x = torch.randn(rows, linear.in_features, device="cuda", dtype=torch.bfloat16)
        expected = linear(x).float()
        assert (packed(x).float() - expected).norm() / expected.norm() < 0.02
    bench = engine(half, dtype="int8")
    try:
        assert len(bench.answer(PROMPTS[1], max_tokens=8)) == 8
        assert "cuda int8" in bench.engine.status().path
    finally:
        bench.engine.stop()


def test_steps_are_captured_without_paged_attention(model):
    """Soft caps are unknown to flash attention: keys are gathered, in a captured step too."""
    capped = small_model("gemma2", hidden_size=256, head_dim=64, intermediate_size=512)
    fast = engine(capped.to(torch.bfloat16), dtype="bfloat16")
    plain = engine(capped.to(torch.bfloat16), dtype="bfloat16", backend="torch")
    try:
        a, b = (one.ask(PROMPTS[2], max_tokens=2, logprobs=5) for one in (fast, plain))
        assert fast.listener.tokens(a)[0] == plain.listener.tokens(b)[0]
        assert "cuda graphs" in fast.engine.status().path, fast.engine.status().notes
        assert likeliest(fast, a, 1) == pytest.approx(likeliest(plain, b, 1), abs=0.3)
    finally:
        fast.engine.stop()
        plain.engine.stop()


def likeliest(bench: Bench, request_id: str, token: int) -> float:
    """The log-probability of the likeliest token at that place of an answer."""
    entries = [e for delta in bench.listener.deltas(request_id) for e in delta.logprobs or ()]
    return float(entries[token].top[0][1])
