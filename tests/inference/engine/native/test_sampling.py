"""The kernels that draw and tell log-probabilities; tests/…/test_sampler.py holds them to torch's."""

from __future__ import annotations

import pytest
import torch

LIKELIEST = (0.0, 0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(("width", "count"), [(512, 64), (49152, 20), (1000, 1000), (70, 1)])
def test_logprobs_agree_with_float64(kernels, width, count):
    logits = torch.randn(5, width) * 4
    tokens = [0, width - 1, 17, 33, 64]
    chosen, best, ids = kernels.logprobs(logits, tokens, count)
    exact = logits.double().log_softmax(dim=-1)
    expected, order = exact.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(ids, order[:, :count])
    assert torch.allclose(best.double(), expected[:, :count], rtol=1e-5, atol=1e-5)
    assert torch.allclose(chosen.double(), exact[range(5), tokens], rtol=1e-5, atol=1e-5)


def test_of_equal_logits_the_first_comes_first(kernels):
    logits = torch.zeros(1, 600)
    assert kernels.logprobs(logits, [0], 64)[2][0].tolist() == list(range(64))
    assert kernels.draw(logits, [LIKELIEST])[0] == [0]


def test_forbidden_tokens_are_never_drawn(kernels):
    logits = torch.full((1, 600), -torch.inf)
    logits[0, [7, 300]] = torch.tensor([1.0, 2.0])
    drawn = {kernels.draw(logits, [(1.0, 0, 1.0, 0.0, u / 50)])[0][0] for u in range(50)}
    assert drawn == {7, 300}
    assert kernels.logprobs(logits, [7], 3)[1][0, 2] == -torch.inf


def test_a_draw_that_many_tokens_decide_is_left_to_torch(kernels):
    flat = torch.zeros(1, 49152)
    assert kernels.draw(flat, [(1.0, 0, 0.9, 0.0, 0.5)])[0] == [kernels.UNSETTLED]
    assert kernels.draw(flat, [(1.0, 300, 0.9, 0.0, 0.5)])[0] == [135]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_that_is_not_finite_fails_alone(kernels, bad, temperature):
    rules = [(temperature, 8, 1.0, 0.0, 0.3)] * 3
    logits = torch.randn(3, 512)
    clean = kernels.draw(logits, rules)[0]
    logits[1, 200] = bad
    assert kernels.draw(logits, rules)[0] == [clean[0], -1, clean[2]]
    assert kernels.logprobs(logits, [0, 0, 0], 2)[0].isnan().tolist() == [False, True, False]
    assert kernels.draw(torch.full((1, 512), -torch.inf), rules[:1])[0] == [-1]
