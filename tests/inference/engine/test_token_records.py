"""What is kept of each token's choice, against the samplers' definition in NumPy."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
import torch

from inference.contract import NO_TOKEN, TOKEN_RECORD, TOKEN_RECORD_BYTES
from inference.engine.active_request import ActiveRequest
from inference.engine.sampling.sampler import uniform_at
from tests.inference.engine.test_sampler import MakeSampler, asking, sampler
from tests.support import numpy_sampler

__all__ = ["sampler"]  # a fixture: by torch, and by the native kernel
VOCAB = 3000


def recording(**sampling) -> ActiveRequest:
    active = asking(**sampling)
    active.request = dataclasses.replace(active.request, wants_records=True)
    return active


def record_of(make: MakeSampler, logits: torch.Tensor, active: ActiveRequest) -> np.void:
    [wire] = make(logits.shape[1]).sample(logits.clone(), [active], width=3).records
    return np.frombuffer(wire, dtype=TOKEN_RECORD)[0]


def random_settings(generator: random.Random) -> dict[str, object]:
    """Parameters as people choose them; each sampler is off as often as on."""

    def sometimes(value: float, off: float) -> float:
        return value if generator.random() < 0.5 else off

    return {
        "temperature": generator.choice([0.0, 0.2, 0.6, 1.0, generator.uniform(0.1, 2)]),
        "top_k": int(sometimes(generator.randint(1, 80), 0)),
        "top_p": sometimes(generator.uniform(0.1, 0.999), 1.0),
        "min_p": sometimes(generator.uniform(0, 0.3), 0.0),
        "repetition_penalty": sometimes(generator.uniform(0.8, 1.5), 1.0),
        "presence_penalty": sometimes(generator.uniform(-1, 1), 0.0),
        "frequency_penalty": sometimes(generator.uniform(-1, 1), 0.0),
        "seed": generator.getrandbits(62),
    }


def random_case(n: int) -> tuple[torch.Tensor, ActiveRequest]:
    """Logits of a model that is now sure, now in doubt, and a request that wants records."""
    generator = random.Random(n)
    logits = torch.randn(1, VOCAB, generator=torch.Generator().manual_seed(n))
    logits *= generator.uniform(0.5, 5)
    likely = logits[0].topk(30).indices.tolist()
    prompt = tuple(generator.sample(range(VOCAB), 20) + generator.sample(likely, 3))
    answer = tuple(generator.choices(likely, k=generator.randint(0, 9)))
    return logits, recording(prompt=prompt, answer=answer, **random_settings(generator))


@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_a_record_is_what_the_definition_says_for_a_thousand_settings(
    sampler: MakeSampler, seed: int
) -> None:
    for n in range(seed, seed + 100):
        logits, active = random_case(n)
        record = record_of(sampler, logits, active)
        answer = active.token_ids[active.num_prompt :]
        prompt = active.token_ids[: active.num_prompt]
        expected = numpy_sampler.columns(
            logits[0].numpy(), active.sampling, prompt=prompt, answer=answer
        )
        uniform = uniform_at(active.seed, active.num_answer)
        token = int(record["token"])
        if active.sampling.temperature > 0:
            assert record["uniform"] == uniform
            assert token == expected.winner(uniform), n
        raw = logits[0].double().numpy()
        likeliest = np.argsort(-raw, kind="stable")
        assert record["candidates"].tolist() == likeliest[:20].tolist()
        found = np.exp(record["best_logprob"] - record["candidates_below_best"])
        assert np.allclose(found, expected.raw[likeliest[:20]], atol=1e-6)
        assert record["rank"] == 1 + (raw > raw[token]).sum()
        assert math.isclose(record["below_best"], raw.max() - raw[token], abs_tol=1e-5)
        entropy = -(expected.raw * np.log(expected.raw)).sum()
        assert math.isclose(record["entropy"], entropy, abs_tol=1e-4)
        assert math.isclose(math.exp(record["drawn_logprob"]), expected.drawn[token], abs_tol=1e-5)
        ordered = expected.temperature[expected.order]
        few, many = sorted([int(record["kept"]), int((expected.drawn > 0).sum())])
        assert ordered[few:many].sum() < 1e-6  # what float32 can't tell at the edge is nothing
        assert math.isclose(record["kept_mass"], expected.min_p.sum(), abs_tol=1e-5)
        assert math.isclose(record["mass_k"], expected.top_k.sum(), abs_tol=1e-5)
        assert math.isclose(record["best_mass"], expected.temperature.max(), abs_tol=1e-5)
        best = record["adjusted_best"] - record["adjusted_log_total"]
        assert math.isclose(math.exp(best), expected.penalties.max(), abs_tol=1e-5)
        place = np.flatnonzero(expected.order == token)[0]
        below = expected.drawn[expected.order[:place]].sum()
        assert math.isclose(record["below"], below, abs_tol=1e-5)
        assert record["width"] == 3


def test_a_vocabulary_of_less_than_twenty_tokens_has_fewer_candidates(sampler: MakeSampler) -> None:
    record = record_of(sampler, torch.tensor([[1.0, 4.0, 2.0, 3.0]]), recording(temperature=0.0))
    assert record["candidates"].tolist() == [1, 3, 2, 0] + [NO_TOKEN] * 16
    assert record["token"] == 1 and record["kept"] == 1


def test_only_who_wants_records_gets_them_and_draws_the_same(sampler: MakeSampler) -> None:
    logits = torch.randn(2, VOCAB, generator=torch.Generator().manual_seed(1)) * 3
    settings = {"top_p": 0.9, "repetition_penalty": 1.2, "prompt": (5, 6, 7)}
    plain = sampler().sample(logits.clone(), [asking(**settings), asking(**settings)])
    mixed = sampler().sample(logits.clone(), [asking(**settings), recording(**settings)])
    assert plain.token_ids == mixed.token_ids
    assert plain.records == [b"", b""]
    assert [len(record) for record in mixed.records] == [0, TOKEN_RECORD_BYTES]


def test_a_row_that_is_not_finite_has_no_record(sampler: MakeSampler) -> None:
    logits = torch.randn(2, VOCAB, generator=torch.Generator().manual_seed(1))
    logits[1, 7] = torch.nan
    sampled = sampler().sample(logits, [recording(), recording()])
    assert sampled.token_ids[1] == -1
    assert [bool(record) for record in sampled.records] == [True, False]


def test_the_layout_has_the_size_that_the_contract_says() -> None:
    assert np.dtype(TOKEN_RECORD).itemsize == TOKEN_RECORD_BYTES
