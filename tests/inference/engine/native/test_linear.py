"""Each product kernel against float64, and against itself with other neighbours."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

FORMATS = {"bfloat16": 0, "int8": 1, "int4": 2, "float32": 3, "float16": 4}
# Of a product, whose rows of bfloat16 are rounded and of bytes quantised.
BOUNDS = {"bfloat16": 0.003, "int8": 0.008, "int4": 0.008, "float32": 1e-6, "float16": 1e-6}
SHAPES = [(576, 576), (96, 1536), (100, 64)]  # outputs, inputs; 100 is no panel's end


def relative_error(got, expected):
    return float((got.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [("bfloat16", 0.002), ("int8", 0.006), ("int4", 0.08), ("float32", 1e-12), ("float16", 3e-4)],
)
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_unpacking_gives_the_weights_back_within_their_dtype(
    kernels, dtype, bound, outputs, inputs
):
    weight = torch.randn(outputs, inputs)
    packed = kernels.Packed(weight, FORMATS[dtype], None)
    assert relative_error(packed.unpacked(), weight.double()) < bound


def test_int4_takes_weights_over_without_loss_that_were_four_bits_before(kernels):
    levels = torch.randint(2, 12, (64, 6, 32))  # neither the first nor the last of 16 levels
    scale = (torch.rand(64, 6, 1) * 0.01 + 0.001).half().float()
    minimum = -8 * scale
    weight = (levels * scale + minimum).view(64, 192)
    got = kernels.Packed(weight, FORMATS["int4"], None).unpacked()
    assert relative_error(got, weight.double()) < 5e-4  # of the half-precision scale


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("rows", [1, 5, 16, 23, 130])
def test_linear_agrees_with_float64(kernels, dtype, outputs, inputs, rows):
    bias = torch.randn(outputs)
    packed = kernels.Packed(torch.randn(outputs, inputs), FORMATS[dtype], bias)
    x = torch.randn(rows, inputs)
    expected = x.double() @ packed.unpacked().double().T + bias.double()
    assert relative_error(kernels.linear(x, packed), expected) < BOUNDS[dtype]


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_row_gets_the_same_bits_alone_and_among_any_others(kernels, dtype):
    packed = kernels.Packed(torch.randn(352, 288), FORMATS[dtype], None)
    x = torch.randn(200, 288)
    alone = torch.cat([kernels.linear(row[None], packed) for row in x])
    for rows in (2, 3, 8, 9, 16, 17, 33, 97, 200):
        assert torch.equal(kernels.linear(x[:rows], packed), alone[:rows]), f"{rows} rows"


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_matrix_registers_and_vectors_give_the_same_bits_of_bytes(kernels, dtype, outputs, inputs):
    if not kernels.use_matrix():
        pytest.skip("no matrix registers")
    packed = kernels.Packed(torch.randn(outputs, inputs), FORMATS[dtype], None)
    x = torch.randn(300, inputs)
    for rows in (1, 16, 17, 31, 33, 97, 300):
        here = kernels.linear(x[:rows], packed)
        kernels.want_matrix(False)
        assert torch.equal(kernels.linear(x[:rows], packed), here), f"{rows} rows"
        kernels.want_matrix(True)


def test_torch_finds_its_matrix_registers_as_it_left_them(kernels):
    packed = kernels.Packed(torch.randn(96, 64), 0, None)
    x, weight = torch.randn(48, 64).bfloat16(), torch.randn(96, 64).bfloat16()
    expected = F.linear(x, weight)
    for _ in range(3):
        kernels.linear(torch.randn(7, 64), packed)
        assert torch.equal(F.linear(x, weight), expected)


@pytest.mark.parametrize("dtype", FORMATS)
def test_one_thread_and_two_give_the_same_bits(kernels, dtype):
    packed = kernels.Packed(torch.randn(576, 288), FORMATS[dtype], None)
    x = torch.randn(33, 288)
    alone = kernels.linear(x, packed)
    torch.set_num_threads(2)
    assert torch.equal(kernels.linear(x, packed), alone)


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_row_that_is_not_a_number_fails_alone(kernels, dtype):
    packed = kernels.Packed(torch.randn(64, 64), FORMATS[dtype], None)
    x = torch.randn(4, 64)
    clean = kernels.linear(x, packed)
    x[2, 17] = float("nan")
    spoiled = kernels.linear(x, packed)
    assert spoiled[2].isnan().all()
    assert torch.equal(spoiled[[0, 1, 3]], clean[[0, 1, 3]])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("gate", ["silu", "gelu"])
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_gated_mlp_agrees_with_float64(kernels, dtype, gate, rows):
    gate_up = kernels.Packed(torch.randn(2 * 96, 64) * 0.2, FORMATS[dtype], torch.randn(192))
    down = kernels.Packed(torch.randn(64, 96), FORMATS[dtype], None)
    x = torch.randn(rows, 64)
    bias = kernels.linear(torch.zeros(1, 64), gate_up).double()  # nothing but the bias is left
    g, u = (x.double() @ gate_up.unpacked().double().T + bias).chunk(2, dim=-1)
    activated = F.silu(g) if gate == "silu" else F.gelu(g, approximate="tanh")
    expected = (activated * u) @ down.unpacked().double().T
    got = kernels.gated_mlp(x, gate_up, down, 0 if gate == "silu" else 1)
    assert relative_error(got, expected) < 2 * BOUNDS[dtype]


def test_rms_norm_agrees_with_float64(kernels):
    x, weight = torch.randn(50, 576) * 3, torch.randn(576)
    d = x.double()
    expected = d / (d.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    assert relative_error(kernels.rms_norm(x, weight, 1e-5), expected) < 1e-6


def test_a_wrong_shape_is_refused_with_a_sentence(kernels):
    packed = kernels.Packed(torch.randn(64, 64), 0, None)
    with pytest.raises(RuntimeError, match="x must have 64 columns, not 32"):
        kernels.linear(torch.randn(2, 32), packed)
    with pytest.raises(RuntimeError, match="multiple of 32"):
        kernels.Packed(torch.randn(64, 50), 0, None)
