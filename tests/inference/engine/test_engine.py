"""The engine as its caller sees it: requests in, events and exactly one Result out."""

from __future__ import annotations

import copy
import threading
import time

import pytest
import torch

from inference.contract import (
    PRIORITY_API,
    Delta,
    ErrorCode,
    GenerationRequest,
    Result,
    SamplingParams,
    Stamp,
)
from inference.engine.loader import ModelLoader, TextArtifacts

from .conftest import LetterDetokenizer, generate, prompt_of, small_model


def letters(tokens: list[int]) -> str:
    return "".join(chr(97 + token % 26) for token in tokens)


# --- the same answer as transformers -------------------------------------------------------------


def test_greedy_answer_equals_generate(llama, bench):
    engine = bench(llama)
    for length in (5, 23, 40, 11):
        prompt = prompt_of(length, seed=length)
        assert engine.answer(prompt, max_tokens=40) == generate(llama, prompt, 40)


def test_mixed_batch_with_chunked_prefill_equals_generate(llama, bench):
    engine = bench(llama, step_tokens=32)
    prompts = [prompt_of(n, seed=n) for n in (5, 123, 40, 11, 77, 64, 1, 200)]
    ids = [engine.ask(prompt, max_tokens=30) for prompt in prompts]
    for prompt, request_id in zip(prompts, ids, strict=True):
        assert engine.listener.tokens(request_id) == generate(llama, prompt, 30)


def test_preempted_answers_equal_generate(llama, bench):
    # 12 blocks of 16 tokens hold three of these at once at most.
    engine = bench(llama, kv_cache_bytes=12 * 16 * 4 * 2 * 2 * 32 * 4, context_length=128)
    prompts = [prompt_of(40, seed=n) for n in range(5)]
    ids = [engine.ask(prompt, max_tokens=40) for prompt in prompts]
    for prompt, request_id in zip(prompts, ids, strict=True):
        assert engine.listener.tokens(request_id) == generate(llama, prompt, 40)
    assert engine.engine.status().kv_blocks_used == 0


def test_reused_pages_give_the_same_answer_and_are_counted(llama, bench):
    engine = bench(llama)
    prompt = prompt_of(70)
    first = engine.answer(prompt, max_tokens=30)
    turn = prompt + first + prompt_of(5, seed=9)
    request_id = engine.ask(turn, max_tokens=20)
    assert engine.listener.tokens(request_id) == generate(llama, turn, 20)
    # The last token of the first answer was never an input, so 99 tokens were computed: 6 blocks.
    assert engine.listener.result(request_id).cached_tokens == 96


def test_an_answer_goes_on_from_tokens_it_has(llama, bench):
    engine = bench(llama)
    prompt = prompt_of(21)
    whole = engine.ask(prompt, max_tokens=30, temperature=0.9, seed=5, frequency_penalty=0.5)
    tokens = engine.listener.tokens(whole)
    rest = engine.ask(
        prompt,
        max_tokens=30,
        temperature=0.9,
        seed=5,
        frequency_penalty=0.5,
        continue_from=tuple(tokens[:12]),
        attempt=2,
    )
    assert engine.listener.tokens(rest) == tokens[12:]
    deltas, result = engine.listener.deltas(rest), engine.listener.result(rest)
    assert deltas[0].position == 12
    assert deltas[0].text_offset == 12
    assert deltas[0].attempt == 2
    assert (result.completion_tokens, result.continued_tokens) == (30, 12)


def test_an_answer_that_was_complete_already_ends_at_once(llama, bench):
    engine = bench(llama)
    request_id = engine.ask(prompt_of(5), max_tokens=4, continue_from=(7, 8, 9, 10))
    result = engine.listener.result(request_id)
    assert result.finish_reason == "length"
    assert result.completion_tokens == 4
    assert engine.listener.deltas(request_id) == []


@pytest.mark.parametrize(
    ("given", "stop", "stop_string"), [((7, 8, 2), (), None), ((7, 8, 9), ("ij",), "ij")]
)
def test_an_answer_whose_end_was_given_does_not_go_on(llama, bench, given, stop, stop_string):
    """Its worker was lost between the last token and the Result: 2 is the end token."""
    engine = bench(llama, eos=(2,))
    request_id = engine.ask(prompt_of(5), max_tokens=20, continue_from=given, stop=stop)
    result = engine.listener.result(request_id)
    assert (result.finish_reason, result.stop_string) == ("stop", stop_string)
    assert engine.listener.deltas(request_id) == []


@pytest.mark.parametrize("changes", [{}, {"top_p": 0.9}, {"top_k": 20, "repetition_penalty": 1.3}])
def test_a_seed_gives_the_same_answer_alone_and_in_a_batch(llama, bench, changes):
    engine = bench(llama, step_tokens=64)
    prompt = prompt_of(33)
    options = {"temperature": 0.8, "seed": 11, "max_tokens": 24, **changes}
    alone = engine.answer(prompt, **options)
    others = [engine.ask(prompt_of(50, seed=n), temperature=1.0, seed=n) for n in range(6)]
    together = engine.ask(prompt, **options)
    assert engine.listener.tokens(together) == alone
    assert all(engine.listener.result(one) for one in others)


# --- events --------------------------------------------------------------------------------------


def test_deltas_follow_each_other_and_every_result_carries_its_figures(llama, bench):
    engine = bench(llama, measure=True, worker="w1")
    request_id = engine.ask(prompt_of(9), max_tokens=12)
    result = engine.listener.result(request_id)
    deltas = engine.listener.deltas(request_id)
    assert [d.position for d in deltas] == [*range(12)]
    assert [d.mono_ns for d in deltas] == list(result.token_mono_ns)
    assert result.started
    assert result.admitted
    assert result.first_token
    assert result.last_token
    moments = (result.started, result.admitted, result.first_token, result.last_token)
    assert sorted(s.mono_ns for s in moments) == [s.mono_ns for s in moments]
    assert result.first_token.mono_ns == result.token_mono_ns[0]
    assert result.last_token.mono_ns == result.token_mono_ns[-1]
    assert (result.prompt_tokens, result.completion_tokens) == (9, 12)
    assert result.batch_mean == 1.0
    assert result.tpot_floor_us
    assert result.prefill_floor_us
    assert (result.worker, result.dtype, result.device) == ("w1", "float32", "cpu")


def test_one_delta_per_request_and_step(llama, bench):
    engine = bench(llama)
    ids = [engine.ask(prompt_of(9, seed=n), max_tokens=20) for n in range(4)]
    for request_id in ids:
        engine.listener.result(request_id)
    for batch in engine.listener.batches:
        seen = [event.request_id for event in batch if isinstance(event, Delta)]
        assert len(seen) == len(set(seen))
    last = engine.listener.result(ids[-1])
    assert last.batch_mean
    assert last.batch_mean > 1


def test_text_pieces_join_to_the_answer(llama, bench):
    engine = bench(llama)
    request_id = engine.ask(prompt_of(9), max_tokens=20, stop=("zzzz",))
    tokens = engine.listener.tokens(request_id)
    assert engine.listener.text(request_id) == letters(tokens)


def test_a_stop_string_ends_the_answer_and_is_not_shown(llama, bench):
    engine = bench(llama)
    tokens = engine.answer(prompt_of(9), max_tokens=20)
    stop = letters(tokens[6:9])
    end = letters(tokens).index(stop)
    request_id = engine.ask(prompt_of(9), max_tokens=20, stop=(stop,))
    result = engine.listener.result(request_id)
    assert engine.listener.text(request_id) == letters(tokens)[:end]
    assert (result.finish_reason, result.stop_string) == ("stop", stop)
    assert result.completion_tokens == end + 3


def test_the_next_step_runs_while_text_is_made(llama, bench):
    """Each piece of text waits for one more step; a stop found late shows nothing surplus."""
    ran_on: list[bool] = []

    class Slow(LetterDetokenizer):
        def feed(self, token_id: int) -> str:
            at, until = engine.engine.steps, time.monotonic() + 5
            while engine.engine.steps == at and time.monotonic() < until:
                time.sleep(0.001)
            ran_on.append(engine.engine.steps > at)
            return super().feed(token_id)

    side = TextArtifacts(make_detokenizer=Slow)
    engine = bench(llama, loader=ModelLoader(lambda *_: copy.deepcopy(llama), lambda: side))
    tokens = generate(llama, prompt_of(9), 20)
    stop = letters(tokens[6:9])
    end = letters(tokens).index(stop)
    request_id = engine.ask(prompt_of(9), max_tokens=20, stop=(stop,))
    result = engine.listener.result(request_id)
    assert all(ran_on)
    assert len(ran_on) == result.completion_tokens == end + 3
    assert engine.listener.tokens(request_id) == tokens[: end + 3]
    assert engine.listener.text(request_id) == letters(tokens)[:end]
    assert len(result.token_mono_ns) == end + 3
    engine.listener.wait(lambda: engine.engine.status().kv_blocks_used == 0 or None)


def test_text_that_cannot_be_made_fails_its_answer_alone(llama, bench):
    class Breaks(LetterDetokenizer):
        def feed(self, token_id: int) -> str:
            if self.stop == ("!",):
                raise ValueError("no such piece")
            return super().feed(token_id)

    side = TextArtifacts(make_detokenizer=Breaks)
    engine = bench(llama, loader=ModelLoader(lambda *_: copy.deepcopy(llama), lambda: side))
    other = engine.ask(prompt_of(9), max_tokens=20)
    broken = engine.ask(prompt_of(9), max_tokens=20, stop=("!",))
    result = engine.listener.result(broken)
    assert (result.finish_reason, result.error_code) == ("failed", "engine_error")
    assert engine.listener.tokens(other) == generate(llama, prompt_of(9), 20)


def test_the_end_token_ends_the_answer_without_text(llama, bench):
    tokens = generate(llama, prompt_of(9), 20)
    end = tokens.index(tokens[7])
    engine = bench(llama, eos=[tokens[7]])
    request_id = engine.ask(prompt_of(9), max_tokens=20)
    result = engine.listener.result(request_id)
    assert result.finish_reason == "stop"
    assert result.completion_tokens == end + 1
    assert engine.listener.text(request_id) == letters(tokens[:end])
    assert engine.answer(prompt_of(9), max_tokens=20, ignore_eos=True) == tokens


def test_prefill_progress_is_told(llama, bench):
    engine = bench(llama, step_tokens=32)
    request_id = engine.ask(prompt_of(100), max_tokens=2)
    engine.listener.result(request_id)
    steps = engine.listener.progress(request_id)
    seen = [(p.done, p.total) for p in steps if p.phase == "prefill"]
    assert seen == [(0, 100), (32, 100), (64, 100), (96, 100)]


def test_logprobs_and_echo(llama, bench):
    engine = bench(llama, step_tokens=32)
    prompt = prompt_of(50)
    request_id = engine.ask(prompt, max_tokens=3, logprobs=4, echo_logprobs=2)
    tokens, result = engine.listener.tokens(request_id), engine.listener.result(request_id)
    with torch.no_grad():
        logp = llama(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
    assert len(result.echo) == 49
    for at, entry in enumerate(result.echo):
        assert entry.chosen == pytest.approx(float(logp[at, prompt[at + 1]]), abs=1e-3)
        assert len(entry.top) == 2
    for n, delta in enumerate(engine.listener.deltas(request_id)):
        top = logp[49 + n].topk(4)
        assert [token for token, _ in delta.logprobs[0].top] == top.indices.tolist()
        assert delta.logprobs[0].chosen == pytest.approx(float(top.values[0]), abs=1e-3)


# --- endings and faults --------------------------------------------------------------------------


def test_cancel_ends_in_one_step_and_frees_every_block(llama, bench):
    engine = bench(llama)
    request_id = engine.ask(prompt_of(30), max_tokens=900)
    engine.listener.wait(lambda: len(engine.listener.deltas(request_id)) > 3)
    engine.engine.cancel(request_id)
    result = engine.listener.result(request_id)
    assert result.finish_reason == "cancelled"
    assert 3 < result.completion_tokens < 900
    engine.listener.wait(lambda: engine.engine.status().kv_blocks_used == 0 or None)


def test_cancelling_who_waits_or_is_unknown_harms_nobody(llama, bench):
    engine = bench(llama, max_running=1)
    running = engine.ask(prompt_of(30), max_tokens=60)
    waiting = engine.ask(prompt_of(10), max_tokens=60)
    engine.engine.cancel("nobody")
    engine.engine.cancel(waiting)
    assert engine.listener.result(waiting).finish_reason == "cancelled"
    assert engine.listener.result(running).finish_reason == "length"


def test_a_row_of_nan_fails_alone_and_its_pages_are_wiped(bench):
    model = small_model()
    with torch.no_grad():
        model.model.embed_tokens.weight[499] = float("nan")
    engine = bench(model, kv_cache_bytes=24 * 16 * 4 * 2 * 2 * 32 * 4)
    good = [engine.ask(prompt_of(20, seed=n), max_tokens=30) for n in range(3)]
    bad = engine.ask([*prompt_of(20, seed=8), 499, *prompt_of(20, seed=9)])
    result = engine.listener.result(bad)
    assert (result.finish_reason, result.error_code) == ("failed", "bad_logits")
    for n, request_id in enumerate(good):
        assert engine.listener.tokens(request_id) == generate(model, prompt_of(20, seed=n), 30)
    for n in range(6):  # blocks that held the NaN come back into use
        prompt = prompt_of(40, seed=20 + n)
        assert engine.answer(prompt, max_tokens=20) == generate(model, prompt, 20)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.OutOfMemoryError("no memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("the kernel broke"), "engine_error"),
    ],
)
def test_a_failing_step_fails_only_the_request_that_breaks_it(bench, error, code):
    model = small_model()

    def choke(_module, args, kwargs):
        if 498 in kwargs["input_ids"]:
            raise error

    model.register_forward_pre_hook(choke, with_kwargs=True)
    engine = bench(model)
    good = [engine.ask(prompt_of(20, seed=n), max_tokens=30) for n in range(3)]
    bad = engine.ask([3, 498, 4])
    result = engine.listener.result(bad)
    assert (result.finish_reason, result.error_code) == ("failed", code)
    for n, request_id in enumerate(good):
        assert engine.listener.tokens(request_id) == generate(model, prompt_of(20, seed=n), 30)


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ([], "empty_prompt"),
        ([3] * 1024, "prompt_too_long"),
        ([512], "bad_token"),
        ([-1], "bad_token"),
    ],
)
def test_what_can_not_be_served_is_refused_with_a_reason(llama, bench, prompt, code):
    engine = bench(llama)
    result = engine.listener.result(engine.ask(prompt))
    assert (result.finish_reason, result.error_code) == ("failed", code)
    assert result.error_text


def test_a_full_line_refuses_and_keeps_those_who_wait(llama, bench):
    engine = bench(llama, max_running=1, max_waiting=2)
    first = engine.ask(prompt_of(9), max_tokens=100)
    engine.listener.wait(lambda: engine.listener.deltas(first))
    ids = [engine.ask(prompt_of(9), max_tokens=2) for _ in range(3)]
    reasons = [engine.listener.result(one).error_code for one in ids]
    assert reasons == [None, None, ErrorCode.QUEUE_FULL]


def test_who_waits_too_long_is_told(llama, bench):
    engine = bench(llama, max_running=1)
    first = engine.ask(prompt_of(9), max_tokens=900)
    engine.listener.wait(lambda: engine.listener.deltas(first))
    late = engine.ask(prompt_of(9), expires_s=0.05)
    assert engine.listener.result(late).error_code == "expired"


def test_people_are_served_before_batches(llama, bench):
    engine = bench(llama, max_running=1)
    first = engine.ask(prompt_of(9), max_tokens=60)
    engine.listener.wait(lambda: engine.listener.deltas(first))
    batch = engine.ask(prompt_of(9), priority=PRIORITY_API)
    person = engine.ask(prompt_of(9))
    engine.listener.result(batch)
    order = [e.request_id for e in engine.listener.events if isinstance(e, Result)]
    assert order == [first, person, batch]


def test_the_context_ends_an_answer(llama, bench):
    engine = bench(llama, context_length=40)
    result = engine.listener.result(engine.ask(prompt_of(30), max_tokens=500))
    assert (result.finish_reason, result.completion_tokens) == ("length", 10)


def test_stopping_interrupts_who_runs_and_refuses_who_comes(llama, bench):
    engine = bench(llama)
    running = engine.ask(prompt_of(9), max_tokens=1000)
    engine.listener.wait(lambda: engine.listener.deltas(running))
    assert engine.engine.stop(10.0)
    assert engine.listener.result(running).finish_reason == "interrupted"
    assert engine.listener.result(engine.ask(prompt_of(9))).error_code == "engine_stopped"


def test_a_model_that_does_not_load_answers_everyone_with_the_reason(llama, bench):
    engine = bench(None, kv_cache_bytes=1)
    result = engine.listener.result(engine.ask(prompt_of(9)))
    assert result.finish_reason == "failed"
    assert result.error_code in ("model_failed", "engine_stopped")
    assert engine.engine.status().state == "failed"
    assert engine.engine.status().state_detail


def test_requests_from_many_threads_each_get_one_result(llama, bench):
    engine = bench(llama, max_running=8)

    def submit(worker: int) -> None:
        for n in range(5):
            engine.engine.submit(
                GenerationRequest(
                    request_id=f"{worker}-{n}",
                    model="small",
                    prompt_token_ids=tuple(prompt_of(5 + n)),
                    sampling=SamplingParams(max_tokens=4, seed=n),
                    received=Stamp.now(),
                )
            )

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.listener.wait(lambda: len(engine.listener.results()) == 30)
    results = [e for e in engine.listener.events if isinstance(e, Result)]
    assert len(results) == 30
    assert all(r.completion_tokens == 4 for r in results)


def test_the_step_counter_moves_also_when_idle(llama, bench):
    engine = bench(llama).engine
    while engine.status().state != "ready":
        time.sleep(0.02)
    before = engine.steps
    time.sleep(0.6)
    assert engine.steps > before


def test_a_model_of_windows_keeps_only_its_window(bench):
    model = small_model("mistral", sliding_window=32)
    # 10 blocks of 16 tokens: less than this answer has, and more than its window needs.
    engine = bench(model, kv_cache_bytes=10 * 16 * 4 * 2 * 2 * 32 * 4, context_length=160)
    ids = [engine.ask(prompt_of(20, seed=n), max_tokens=120) for n in range(3)]
    for n, request_id in enumerate(ids):
        assert engine.listener.tokens(request_id) == generate(model, prompt_of(20, seed=n), 120)
    first = min(engine.listener.result(one).token_mono_ns[-1] for one in ids)
    started = [engine.listener.result(one).token_mono_ns[0] for one in ids]
    assert max(started) < first, "all three ran side by side in pages for one"
