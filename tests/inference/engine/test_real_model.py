"""The default model itself: float32 greedy answers are transformers' own, token for token."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine.loader import folder_loader

from .conftest import Bench, generate

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("CHATSITE_MODELS", ROOT / "var/models")) / "smollm2-135m-instruct"

pytestmark = pytest.mark.usefixtures("default_model_dir")

QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Why is the sky blue? Answer in two sentences.",
    "List three fruits.",
    "Explain photosynthesis to a child.",
    "What is 12 times 12?",
    "Tell me a short story about a robot who learns to paint. " * 8,
    "Translate 'good morning' into Spanish.",
    "Name the planets in order from the sun.",
    "Give me a recipe for pancakes with very few ingredients. " * 4,
]
NEW = 48


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    return model


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    return [
        list(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": question}],
                add_generation_prompt=True,
                return_dict=True,
            )["input_ids"]
        )
        for question in QUESTIONS
    ]


@pytest.mark.timeout(300)
def test_ten_prompts_alone_and_together_equal_generate(model, prompts):
    expected = [generate(model, prompt, NEW) for prompt in prompts]
    bench = Bench(model, kv_cache_bytes=1 << 30, step_tokens=128, text=False, threads=2)
    try:
        ids = [bench.ask(prompt, max_tokens=NEW) for prompt in prompts]
        together = [bench.listener.tokens(one) for one in ids]
        alone = [bench.answer(prompt, max_tokens=NEW) for prompt in prompts]
    finally:
        bench.engine.stop(10.0)
    assert together == expected
    assert alone == expected


def test_the_folder_knows_its_end_token():
    side = folder_loader(FOLDER).load_text()
    assert side.eos_token_ids == {2}
    assert side.revision
    assert side.info["layers"] == 30
