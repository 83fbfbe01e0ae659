"""The engine as its caller sees it: requests in, events and one Result out."""

from __future__ import annotations

from .conftest import generate, prompt_of


def test_greedy_answer_equals_generate(llama, bench):
    engine = bench(llama)
    for length in (5, 23, 40, 11):
        prompt = prompt_of(length, seed=length)
        assert engine.answer(prompt, max_tokens=40) == generate(llama, prompt, 40)


def test_mixed_batch_equals_generate(llama, bench):
    engine = bench(llama, step_tokens=32)
    prompts = [prompt_of(n, seed=n) for n in (5, 123, 40, 11, 77, 64, 1, 200)]
    ids = [engine.ask(prompt, max_tokens=30) for prompt in prompts]
    for prompt, request_id in zip(prompts, ids, strict=True):
        assert engine.listener.tokens(request_id) == generate(llama, prompt, 30)


def test_text_pieces_join_to_the_answer(llama, bench):
    engine = bench(llama)
    request_id = engine.ask(prompt_of(9), max_tokens=20, stop=("zzzz",))
    tokens = engine.listener.tokens(request_id)
    assert engine.listener.text(request_id) == "".join(chr(97 + t % 26) for t in tokens)
