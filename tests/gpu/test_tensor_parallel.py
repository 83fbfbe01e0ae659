"""A model split over two GPUs answers as one on one GPU does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.inference.engine.conftest import Bench, generate, prompt_of, small_model
from tests.inference.engine.test_tensor_parallel import folder_of, rank_workers, split, state

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices"),
]

PROMPTS = [prompt_of(n, seed=n) for n in (5, 190, 40, 11)]
SIZES = {"hidden_size": 256, "head_dim": 64, "intermediate_size": 512}


def over_two_gpus(folder: Path, dtype: str) -> Bench:
    return split(folder, device="cuda", dtype=dtype, kv_cache_bytes=256 << 20)


def test_float32_greedy_equals_generate(tmp_path):
    model = small_model(**SIZES)
    bench = over_two_gpus(folder_of(model, tmp_path / "small"), "float32")
    try:
        assert state(bench) == "ready"
        assert len(rank_workers()) == 1
        ids = [bench.ask(prompt, max_tokens=20) for prompt in PROMPTS]
        expected = [generate(model, prompt, 20) for prompt in PROMPTS]
        assert [bench.listener.tokens(request_id) for request_id in ids] == expected
        assert "no CUDA graphs" in " ".join(bench.engine.status().notes)
    finally:
        assert bench.engine.stop(20.0)
    assert rank_workers() == []


def test_bfloat16_starts_with_the_token_one_gpu_starts_with(tmp_path):
    model = small_model(**SIZES).to(torch.bfloat16)
    folder = folder_of(model, tmp_path / "half")
    alone = Bench(model.to("cuda"), device="cuda", dtype="bfloat16", kv_cache_bytes=256 << 20)
    both = over_two_gpus(folder, "bfloat16")
    try:
        first = [alone.answer(prompt, max_tokens=1) for prompt in PROMPTS]
        assert [both.answer(prompt, max_tokens=1) for prompt in PROMPTS] == first
    finally:
        assert alone.engine.stop(20.0)
        assert both.engine.stop(20.0)
