"""The kernel that finds a row's best tokens, against float64."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize(("width", "count"), [(512, 64), (49152, 64), (1000, 1000), (70, 1)])
def test_masses_and_order_agree_with_float64(kernels, width, count):
    logits = torch.randn(5, width) * 4
    temperatures = torch.tensor([0.1, 0.7, 1.0, 1.5, 2.0])
    masses, ids = kernels.likeliest(logits, temperatures, count)
    exact = (logits.double() / temperatures.double()[:, None]).softmax(dim=-1)
    expected, order = exact.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(ids, order[:, :count])
    assert torch.allclose(masses.double(), expected[:, :count], rtol=2e-5, atol=1e-30)


def test_equal_logits_come_in_order_of_their_index(kernels):
    logits = torch.zeros(1, 600)
    masses, ids = kernels.likeliest(logits, torch.ones(1), 64)
    assert ids[0].tolist() == list(range(64))
    assert torch.allclose(masses, torch.full((1, 64), 1 / 600))


def test_forbidden_tokens_have_no_mass(kernels):
    logits = torch.full((1, 600), -torch.inf)
    logits[0, [7, 300]] = torch.tensor([1.0, 2.0])
    masses, ids = kernels.likeliest(logits, torch.ones(1), 64)
    assert ids[0, :2].tolist() == [300, 7]
    assert masses[0, 2:].sum() == 0
    assert masses[0, :2].sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_row_that_is_not_finite_fails_alone(kernels, bad):
    logits = torch.randn(3, 512)
    clean = kernels.likeliest(logits, torch.ones(3), 8)
    logits[1, 200] = bad
    masses, ids = kernels.likeliest(logits, torch.ones(3), 8)
    assert masses[1].isnan().all()
    for row in (0, 2):
        assert torch.equal(masses[row], clean[0][row])
        assert torch.equal(ids[row], clean[1][row])
    nothing = torch.full((1, 512), -torch.inf)
    assert kernels.likeliest(nothing, torch.ones(1), 8)[0].isnan().all()
