"""What is drawn, against the plain definition; and that the batch never changes a row's draw."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.contract import GenerationRequest, SamplingParams, Stamp
from inference.engine.active_request import ActiveRequest
from inference.engine.native.build import KernelsUnavailable, load_kernels
from inference.engine.native.native_sampler import NativeSampler
from inference.engine.sampling.sampler import Sampler, uniform_at
from inference.engine.sampling.sampling_backend import NOT_FINITE, SamplingBackend
from inference.engine.sampling.torch_sampler import TorchSampler

VOCAB = 3000
NOW = Stamp.now()
CPU = torch.device("cpu")


MakeSampler = Callable[..., Sampler]


@pytest.fixture(scope="module", params=["torch", "native"])
def sampler(request: pytest.FixtureRequest) -> MakeSampler:
    """Makes samplers that draw by torch, and then by the native kernel."""
    backend: SamplingBackend = TorchSampler(CPU)
    if request.param == "native":
        try:
            backend = NativeSampler(load_kernels())
        except KernelsUnavailable as error:
            pytest.skip(f"no native kernels here: {error}")

    def make(vocab: int = VOCAB) -> Sampler:
        return Sampler(vocab_size=vocab, eos_token_ids=[2], device=CPU, backend=backend)

    return make


def asking(
    *, prompt: tuple[int, ...] = (5,), answer: tuple[int, ...] = (), **sampling
) -> ActiveRequest:
    params = SamplingParams(**{"temperature": 1.0, "seed": 3, **sampling})
    wire = GenerationRequest(
        request_id="r", model="small", prompt_token_ids=prompt, sampling=params, received=NOW
    )
    active = ActiveRequest(
        request=wire, token_ids=list(prompt), arrival=0, seed=params.seed or 0, started=NOW
    )
    for token in answer:
        active.append(token)
    return active


def by_definition(logits: torch.Tensor, active: ActiveRequest) -> tuple[int, float]:
    """The textbook's way, one row, float64: sort, cut by top-k, top-p, min-p, walk the mass."""
    params = active.request.sampling
    probs, order = (logits.double() / params.temperature).softmax(-1).sort(descending=True)
    if params.top_k:
        probs[params.top_k :] = 0
    probs /= probs.sum()
    if params.top_p < 1:
        probs[(probs.cumsum(-1) - probs) >= params.top_p] = 0
    if params.min_p > 0:
        probs[probs < params.min_p * probs[0]] = 0
    probs /= probs.sum()
    index = int((probs.cumsum(-1) <= uniform_at(active.seed, active.num_answer)).sum())
    return int(order[index]), float(probs[index].log())


@settings(max_examples=200, deadline=None)
@given(
    data=st.integers(0, 2**31),
    scale=st.sampled_from([0.1, 1.0, 4.0]),
    temperature=st.sampled_from([0.2, 0.7, 1.0, 1.8]),
    top_k=st.sampled_from([0, 1, 5, 64, 65, 200, 2999, 5000]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_draws_are_those_of_the_definition(sampler, data, scale, temperature, top_k, top_p, min_p):
    logits = torch.randn(1, VOCAB, generator=torch.Generator().manual_seed(data)) * scale
    active = asking(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=data, logprobs=0
    )
    expected, logp = by_definition(logits[0], active)
    result = sampler().sample(logits.clone(), [active])
    entry = result.logprobs[0]
    assert entry is not None
    # A cut that falls between two equal sums may go either way by rounding; the choice then has
    # all but the same probability.
    assert result.token_ids[0] == expected or entry.sampled == pytest.approx(logp, abs=1e-3)


def test_draws_follow_the_distribution(sampler):
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    requests = [asking(seed=seed) for seed in range(4000)]
    drawn = sampler(4).sample(logits.repeat(4000, 1), requests).token_ids
    share = torch.bincount(torch.tensor(drawn), minlength=4) / 4000
    assert torch.allclose(share, logits.softmax(-1), atol=0.03)


def test_a_row_draws_alike_alone_and_in_any_batch(sampler):
    kinds = [
        {},
        {"top_k": 50},
        {"top_p": 0.9},
        {"min_p": 0.1},
        {"temperature": 1.7},
        {"top_k": 300},
    ]
    requests = [asking(seed=n, logprobs=0, **kinds[n % 6]) for n in range(24)]
    logits = torch.randn(24, 49152, generator=torch.Generator().manual_seed(0)) * 3
    together = sampler(49152).sample(logits.clone(), requests)
    for n, active in enumerate(requests):
        alone = sampler(49152).sample(logits[n : n + 1].clone(), [active])
        assert alone.token_ids[0] == together.token_ids[n]
        a, b = alone.logprobs[0], together.logprobs[n]
        assert a is not None
        assert b is not None
        assert a.sampled == b.sampled


def test_greedy_rows_in_a_mixed_batch_take_the_likeliest(sampler):
    logits = torch.randn(3, VOCAB)
    requests = [asking(temperature=0.0), asking(temperature=1.5), asking(temperature=0.0)]
    result = sampler().sample(logits.clone(), requests)
    assert result.token_ids[0] == int(logits[0].argmax())
    assert result.token_ids[2] == int(logits[2].argmax())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_that_is_not_a_number_is_reported_alone(sampler, bad):
    logits = torch.randn(3, VOCAB)
    logits[1, 77] = bad
    requests = [asking(temperature=t) for t in (0.0, 1.0, 1.0)]
    result = sampler().sample(logits, requests)
    assert [token == NOT_FINITE for token in result.token_ids] == [False, True, False]


def test_the_end_token_is_banned_until_min_tokens(sampler):
    logits = torch.zeros(1, VOCAB)
    logits[0, 2] = 50
    early = asking(temperature=0.0, min_tokens=3, answer=(9, 9))
    late = asking(temperature=0.0, min_tokens=3, answer=(9, 9, 9))
    assert sampler().sample(logits.clone(), [early]).token_ids != [2]
    assert sampler().sample(logits.clone(), [late]).token_ids == [2]


def test_bias_lifts_and_bans(sampler):
    logits = torch.zeros(2, VOCAB)
    requests = [
        asking(temperature=0.0, logit_bias=((9, 5.0), (99999, 100.0))),
        asking(temperature=0.0, logit_bias=((0, -100.0),)),
    ]
    assert sampler().sample(logits, requests).token_ids == [9, 1]


def test_repetition_looks_at_prompt_and_answer_presence_and_frequency_at_the_answer(sampler):
    base = torch.tensor([[3.0, 2.0, 1.0, -1.0]])
    repeated = asking(prompt=(0,), answer=(3,), repetition_penalty=2.0, logprobs=4, temperature=1.0)
    counted = asking(
        prompt=(0,), answer=(1, 1, 2), presence_penalty=0.5, frequency_penalty=0.25, temperature=1.0
    )
    one = sampler(4)
    logits = base.repeat(2, 1)
    one._adjust(logits, [repeated, counted])
    assert logits[0].tolist() == [1.5, 2.0, 1.0, -2.0]
    assert logits[1].tolist() == [3.0, 2.0 - 0.5 - 0.5, 1.0 - 0.5 - 0.25, -1.0]


def test_logprobs_are_those_of_the_raw_distribution_beside_the_drawn_one(sampler):
    logits = torch.tensor([[3.0, 2.0, 1.0, -1.0]])
    active = asking(top_k=1, temperature=0.5, logprobs=2)
    entry = sampler(4).sample(logits.clone(), [active]).logprobs[0]
    raw = logits[0].log_softmax(-1)
    assert entry is not None
    assert entry.chosen == pytest.approx(float(raw[0]))
    assert entry.sampled == 0.0
    assert [token for token, _ in entry.top] == [0, 1]
    assert [value for _, value in entry.top] == pytest.approx(raw[:2].tolist())


def test_no_top_wanted_gives_the_chosen_one_alone(sampler):
    entry = sampler(4).logprobs(torch.zeros(1, 4), [1], [0])[0]
    assert entry.chosen == pytest.approx(-math.log(4))
    assert entry.top == ()


def test_penalties_of_a_long_answer_count_every_token_of_it(sampler):
    answer = tuple(n % 700 for n in range(5000))
    active = asking(prompt=(700, 701), answer=answer, repetition_penalty=1.5, frequency_penalty=0.1)
    assert active.counts is not None
    assert len(active.counts.tokens) == 702
    logits = torch.ones(1, VOCAB)
    sampler()._adjust(logits, [active])
    assert logits[0, 0] == pytest.approx(1 / 1.5 - 0.8, abs=1e-6)
    assert logits[0, 699] == pytest.approx(1 / 1.5 - 0.7, abs=1e-6)
    assert logits[0, 700] == pytest.approx(1 / 1.5)
    assert logits[0, 702] == 1


def test_the_random_stream_depends_on_seed_and_position_alone():
    numbers = {(s, p): uniform_at(s, p) for s in range(40) for p in range(40)}
    assert len(set(numbers.values())) == 1600
    assert all(0 <= u < 1 for u in numbers.values())
    assert abs(sum(numbers.values()) / 1600 - 0.5) < 0.03
    assert uniform_at(7, 3) == numbers[7, 3]
