"""Whatever happens to requests, each gets one Result and every page comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.contract import (
    PRIORITY_API,
    PRIORITY_CHAT,
    Delta,
    Event,
    GenerationRequest,
    Progress,
    Result,
    SamplingParams,
    Stamp,
)
from inference.engine.backends.base import Unsupported
from inference.engine.config import EngineConfig
from inference.engine.core import Core
from inference.engine.loader import TextArtifacts
from inference.engine.model_runner import ModelRunner

from .conftest import LetterDetokenizer, small_model

NAN, BREAKS = 499, 498
BLOCK = 16 * 2 * 2 * 2 * 32 * 4  # bytes; of 32 tokens in bfloat16


@pytest.fixture(scope="module", params=["torch", "native"])
def runner(request):
    """A model of two layers; token 499 is not a number, and 498 makes the step raise."""
    model = small_model(num_hidden_layers=2)
    with torch.no_grad():
        model.model.embed_tokens.weight[NAN] = float("nan")
    is_native = request.param == "native"
    config = EngineConfig(
        model_dir=Path(),
        dtype="bfloat16" if is_native else "float32",
        backend=request.param,
        device="cpu",
        threads=1,
        measure=False,
        warm_up=False,
        kv_cache_bytes=(7 if is_native else 14) * BLOCK,
        context_length=120,
        max_running=4,
        max_waiting=5,
        step_tokens=24,
    )
    try:
        made = ModelRunner(config, load=lambda *_: model)
    except Unsupported as error:
        pytest.skip(str(error))
    batch_of = made._batch

    def choke(scheduled):
        batch = batch_of(scheduled)
        if BREAKS in batch.token_ids:
            raise RuntimeError("the kernel broke")
        return batch

    made._batch = choke
    yield config, made
    torch.set_grad_enabled(True)


def asked(data: st.DataObject, n: int, attempt: int = 1) -> GenerationRequest:
    token = st.sampled_from([7, 7, 7, 8, 9, 9, NAN, BREAKS])
    return GenerationRequest(
        request_id=f"r{n}",
        model="small",
        prompt_token_ids=tuple(data.draw(st.lists(token, max_size=70))),
        continue_from=tuple(data.draw(st.lists(st.just(5), max_size=3))),
        sampling=SamplingParams(
            max_tokens=data.draw(st.integers(1, 40)),
            temperature=data.draw(st.sampled_from([0.0, 1.0])),
            seed=n,
            stop=("q",),
        ),
        received=Stamp.now(),
        attempt=attempt,
        priority=data.draw(st.sampled_from([PRIORITY_CHAT, PRIORITY_API])),
        expires_s=data.draw(st.sampled_from([600.0, 0.0])),
        echo_logprobs=data.draw(st.sampled_from([None, None, 1])),
    )


def test_the_first_event_of_a_request_is_its_admission(runner):
    """Of a short prompt, too: an answer that loses its worker has no other trace of it."""
    config, model = runner
    core = Core(config, model, TextArtifacts(make_detokenizer=LetterDetokenizer))
    core.admit(
        GenerationRequest(
            request_id="r",
            model="small",
            prompt_token_ids=(7, 8),
            sampling=SamplingParams(max_tokens=2, temperature=0, seed=1),
            received=Stamp.now(),
        ),
        Stamp.now(),
    )
    core.step()
    core.step()
    events = core.output.process(core.records)
    first, result = events[0], events[-1]
    assert isinstance(first, Progress) and isinstance(result, Result)
    assert first.phase == "prefill" and result.admitted is not None
    assert first.mono_ns == result.admitted.mono_ns


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_each_request_gets_one_result_and_every_page_comes_back(runner, data: st.DataObject):
    config, model = runner
    core = Core(config, model, TextArtifacts(make_detokenizer=LetterDetokenizer))
    submitted: list[tuple[str, int]] = []
    events: list[Event] = []

    def process() -> None:
        """Now and then, as a thread beside the steps does."""
        if data.draw(st.booleans()):
            records, core.records = core.records, []
            events.extend(core.output.process(records))

    for n in range(data.draw(st.integers(1, 14))):
        request = asked(data, n)
        core.admit(request, Stamp.now())
        submitted.append((request.request_id, 1))
        for _ in range(data.draw(st.integers(0, 4))):
            core.expire()
            core.step()
            process()
            pool = core.pool
            assert pool.num_free + pool.num_used == pool.num_blocks
        match data.draw(st.sampled_from(["", "", "cancel", "again", "later attempt"])):
            case "cancel":
                core.cancel(f"r{data.draw(st.integers(0, n))}")
            case "again" if request.request_id in core.active:
                core.admit(request, Stamp.now())
            case "later attempt":
                core.admit(asked(data, n, attempt=2), Stamp.now())
                submitted.append((request.request_id, 2))
    for _ in range(3000):
        if not core.active:
            break
        core.expire()
        core.step()
        process()
    events += core.output.process(core.records)
    results = [(e.request_id, e.attempt) for e in events if isinstance(e, Result)]
    assert sorted(results) == sorted(submitted)
    for result in (e for e in events if isinstance(e, Result)):
        deltas = [d for d in events if isinstance(d, Delta) and d.attempt == result.attempt]
        deltas = [d for d in deltas if d.request_id == result.request_id]
        first = result.continued_tokens
        assert [d.position for d in deltas] == [*range(first, result.completion_tokens)]
        assert (result.stop_string == "q") == (result.finish_reason == "stop")
    assert core.pool.num_free == core.pool.num_blocks
    assert not core.scheduler.running
    assert not core.scheduler.waiting


@pytest.mark.parametrize("token", [BREAKS, NAN])
def test_an_interleaved_prompt_that_fails_fails_alone(runner, token):
    config, model = runner
    core = Core(config, model, TextArtifacts(make_detokenizer=LetterDetokenizer))
    for name, prompt, priority in (
        ("person", [7, 8, 9], PRIORITY_CHAT),
        ("program", [7] * 40 + [token], PRIORITY_API),
    ):
        core.admit(
            GenerationRequest(
                request_id=name,
                model="small",
                prompt_token_ids=tuple(prompt),
                sampling=SamplingParams(
                    max_tokens=60,
                    ignore_eos=True,
                    seed=1,
                    logit_bias=((NAN, -100.0), (BREAKS, -100.0)),
                ),
                received=Stamp.now(),
                priority=priority,
            ),
            Stamp.now(),
        )
        core.step()
    while core.active:
        core.step()
    events = core.output.process(core.records)
    results = {e.request_id: e.finish_reason for e in events if isinstance(e, Result)}
    assert results == {"program": "failed", "person": "length"}
    assert core.pool.num_free == core.pool.num_blocks
