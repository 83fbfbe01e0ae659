"""On the native path a seed's answer has the same bits however it was served.

Alone, in a batch, with chunked prefill, over reused pages, preempted when pages ran out, and
resumed: tokens and log-probabilities are equal, not merely close.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from inference.contract import PRIORITY_API, TokenLogprobs
from inference.engine.backends.base import Unsupported
from inference.engine.model_runner import ModelRunner

from .conftest import Bench, prompt_of, small_model

PROMPTS = [prompt_of(n, seed=n) for n in (70, 9, 33, 120, 64, 18, 90, 41)]
KINDS: list[dict[str, Any]] = [
    {"temperature": 0.9},
    {"temperature": 1.0, "top_p": 0.9, "presence_penalty": 0.4},
    {"temperature": 0.0, "repetition_penalty": 1.2},
    {"temperature": 1.3, "top_k": 80, "min_p": 0.01},
]


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    try:
        from inference.engine.native import NativeBackend

        NativeBackend(dtype="bfloat16")
    except (ImportError, Unsupported) as error:
        pytest.skip(f"no native kernels here: {error}")


@pytest.fixture(scope="module")
def wide() -> Any:
    return small_model(hidden_size=128, intermediate_size=256)


def ask(engine: Bench, n: int, **more: Any) -> str:
    return engine.ask(
        PROMPTS[n], max_tokens=40, seed=n, logprobs=3, **{**KINDS[n % len(KINDS)], **more}
    )


def answer(engine: Bench, request_id: str) -> tuple[list[int], list[TokenLogprobs]]:
    tokens = engine.listener.tokens(request_id)
    return tokens, [lp for delta in engine.listener.deltas(request_id) for lp in delta.logprobs]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
def test_tokens_and_logprobs_are_the_same_bits_however_served(wide, bench, dtype):
    settings: dict[str, Any] = {"dtype": dtype, "backend": "native", "threads": 2}
    plain = bench(wide, prefix_cache=False, **settings)
    alone = [answer(plain, ask(plain, n)) for n in range(len(PROMPTS))]

    together = [ask(plain, n) for n in range(len(PROMPTS))]
    assert [answer(plain, one) for one in together] == alone, "in one batch"

    chunked = bench(wide, step_tokens=32, max_running=8, **settings)
    order = [*range(len(PROMPTS))]
    random.Random(1).shuffle(order)
    asked = {n: ask(chunked, n) for n in order}
    assert [answer(chunked, asked[n]) for n in range(len(PROMPTS))] == alone, "in chunks"

    again = [ask(chunked, n) for n in range(len(PROMPTS))]
    assert [answer(chunked, one) for one in again] == alone, "over reused pages"
    assert chunked.listener.result(again[3]).cached_tokens >= 64

    # 6 blocks of 32 tokens: never more than two of these at once.
    block = 32 * 4 * 2 * 2 * 32 * 2
    small = bench(wide, kv_cache_bytes=6 * block, context_length=190, **settings)
    asked = {n: ask(small, n) for n in order}
    assert [answer(small, asked[n]) for n in range(len(PROMPTS))] == alone, "preempted"

    for n in (0, 3):
        tokens, logprobs = alone[n]
        rest = ask(chunked, n, continue_from=tuple(tokens[:17]))
        assert answer(chunked, rest) == (tokens[17:], logprobs[17:]), "resumed"


def test_an_interleaved_prompt_gets_the_same_bits(wide, bench, monkeypatch):
    layer_runs: list[int] = []
    run_layers = ModelRunner.run_layers
    monkeypatch.setattr(
        ModelRunner,
        "run_layers",
        lambda self, partial, layers: (
            layer_runs.append(layers) or run_layers(self, partial, layers)
        ),
    )
    settings: dict[str, Any] = {"dtype": "int4", "backend": "native", "threads": 2}
    plain = bench(wide, prefix_cache=False, **settings)
    alone = [answer(plain, ask(plain, n)) for n in range(4)]
    assert not layer_runs, "nobody had to wait"

    person = plain.ask(PROMPTS[5], max_tokens=400)
    plain.listener.wait(lambda: plain.listener.deltas(person))
    programs = [ask(plain, n, priority=PRIORITY_API) for n in range(4)]
    assert [answer(plain, one) for one in programs] == alone
    assert len(layer_runs) >= 4 * 2, "a few layers at a time"
    assert plain.listener.result(person).completion_tokens == 400
