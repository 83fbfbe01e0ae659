"""The same bits on every instruction set: what the sets compute, by one file of hashes.

tests/native/expected.txt belongs to the C++ program beside it, which has the same cases and more and
runs where there is no torch (NEON under qemu). On matrix registers sums of bf16, and with them
attention, run in another order: there only products of whole numbers must agree.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

FORMATS = {"bfloat16": 0, "int8": 1, "int4": 2, "float32": 3, "float16": 4}
SHAPES = [(96, 64), (100, 224)]
FILE = Path(__file__).resolve().parents[3] / "native" / "expected.txt"
EXPECTED = {
    name: int(value, 16)
    for value, name in (line.split(" ", 1) for line in FILE.read_text().splitlines())
}


def numbers(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    """check.h's numbers: evenly spread over [-1, 1), exact in float32."""
    h = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(2654435761)
    h += np.uint32((seed * 40503 + 12345) & 0xFFFFFFFF)
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    h ^= h >> np.uint32(16)
    spread = (h >> np.uint32(8)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    return torch.from_numpy(spread * np.float32(scale)).view(shape)


def hash_of(values: torch.Tensor) -> int:
    bits = values.contiguous().view(-1).numpy().view(np.uint32).astype(np.uint64)
    place = np.arange(len(bits), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    golden = np.uint64(0x9E3779B97F4A7C15)
    return int(((bits + np.uint64(1)) * place * golden).sum(dtype=np.uint64))


def skip_other_order(kernels: ModuleType, dtype: str) -> None:
    if kernels.use_matrix() and dtype == "bfloat16":
        pytest.skip("matrix registers sum bf16 in another order")


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_a_product_has_the_expected_bits(kernels, dtype, outputs, inputs):
    skip_other_order(kernels, dtype)
    packed = kernels.Packed(numbers(1, outputs, inputs), FORMATS[dtype], numbers(2, outputs))
    got = kernels.linear(numbers(3, 23, inputs, scale=2), packed)
    assert hash_of(got) == EXPECTED[f"product {dtype} {outputs}x{inputs}"]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("gate", ["silu", "gelu"])
@pytest.mark.parametrize("rows", [1, 7])
def test_an_mlp_has_the_expected_bits(kernels, dtype, gate, rows):
    skip_other_order(kernels, dtype)
    gate_up = kernels.Packed(numbers(6, 192, 64, scale=0.5), FORMATS[dtype], None)
    down = kernels.Packed(numbers(7, 64, 96), FORMATS[dtype], None)
    got = kernels.gated_mlp(numbers(8, rows, 64, scale=2), gate_up, down, int(gate == "gelu"))
    assert hash_of(got) == EXPECTED[f"mlp {gate} {dtype} {rows}"]


def test_a_norm_has_the_expected_bits(kernels):
    got = kernels.rms_norm(numbers(9, 5, 96, scale=3), numbers(10, 96), 1e-5)
    assert hash_of(got) == EXPECTED["norm"]


def test_attention_has_the_expected_bits(kernels):
    skip_other_order(kernels, "bfloat16")
    tokens, heads, kv_heads, dim, page = 300, 9, 3, 64, 32
    q, k, v = (
        numbers(seed, tokens, count, dim, scale=scale).bfloat16().float()
        for seed, count, scale in ((1, heads, 2), (2, kv_heads, 2), (3, kv_heads, 1))
    )
    pages = -(-tokens // page)
    table = torch.arange(pages, 0, -1, dtype=torch.int32)[None]
    keys = torch.zeros(pages + 1, kv_heads, page * dim, dtype=torch.bfloat16)
    at = torch.arange(tokens)
    slots = table[0, at // page].long() * page + at % page
    got = kernels.attend(
        q, k, v, keys, keys.clone(), page, at, slots, torch.zeros_like(at), table,
        dim**-0.5, 0, 0.0, None,
    )  # fmt: skip
    assert hash_of(got) == EXPECTED["attention grouped"]
