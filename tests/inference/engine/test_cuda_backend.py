"""What of the CUDA backend can be known without a GPU: its padding, its linears, its fallbacks."""

from __future__ import annotations

import pytest
import torch

from inference.engine.backends.captured_decode import CapturedDecode
from inference.engine.backends.cuda_backend import CudaBackend, decode_sizes
from inference.engine.backends.fused_norms import FusedRmsNorm, fuse_norms
from inference.engine.backends.int8_linear import (
    FEW_ROWS,
    Int8Linear,
    find_kernel,
    multiply_widened,
)
from inference.engine.backends.probe import probe_layers
from inference.engine.backends.reference_attention import sequence_logits
from inference.engine.backends.step_batch import StepBatch
from inference.engine.backends.torch_backend import TorchBackend

from .conftest import prompt_of, small_model

BLOCKS = [[3, 1, 7], [2, 5, 0], [6, 0, 0]]
LENGTHS = [40, 21, 9]


@pytest.fixture
def backend():
    torch.set_grad_enabled(False)
    model = small_model()
    made = CudaBackend(dtype="float32", device=torch.device("cpu"))
    made.prepare(model, probe_layers(model))
    made.allocate_cache(10)
    yield made
    torch.set_grad_enabled(True)


def batch_of(lengths: list[int], first: int) -> StepBatch:
    """The tokens from `first` on of three sequences; `first` -1 is each one's last alone."""
    ids, positions, slots, rows, starts = [], [], [], [], [0]
    for row, length in enumerate(lengths):
        prompt = prompt_of(length, seed=row)
        for p in range(length)[first:]:
            ids.append(prompt[p])
            positions.append(p)
            slots.append(BLOCKS[row][p // 16] * 16 + p % 16)
            rows.append(row)
        starts.append(len(ids))
    return StepBatch(
        token_ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        slots=torch.tensor(slots),
        rows=torch.tensor(rows),
        block_table=torch.tensor(BLOCKS, dtype=torch.int32),
        logits_at=torch.tensor(starts[1:]) - 1,
        query_starts=starts,
        context_lens=lengths,
    )


def test_a_padded_decode_gives_the_logits_of_the_plain_one(backend):
    TorchBackend.forward(backend, batch_of(LENGTHS, 0))
    plain = TorchBackend.forward(backend, batch_of(LENGTHS, -1))
    padded = CapturedDecode(backend, 8, 64).run(batch_of(LENGTHS, -1))
    assert torch.allclose(plain, padded, atol=1e-4)


def test_padding_touches_nobodys_pages(backend):
    TorchBackend.forward(backend, batch_of(LENGTHS, 0))
    before = {layer: keys.clone() for layer, keys in backend._keys.items()}
    decode = CapturedDecode(backend, 8, 64)
    decode.run(batch_of(LENGTHS, -1))
    for layer, keys in backend._keys.items():
        assert torch.allclose(keys[16:], before[layer][16:], atol=1e-5), "all but block 0"


def test_without_a_gpu_it_says_so_and_serves_by_the_reference(backend):
    backend.warm_up(max_running=8, context_length=64)
    assert "not on a GPU" in backend.notes[0]
    logits = backend.forward(batch_of(LENGTHS, 0))
    assert torch.allclose(logits, TorchBackend.forward(backend, batch_of(LENGTHS, 0)))


def test_a_decode_that_is_filled_again_sees_what_is_new(backend):
    """Masks of the step before would hide the last token."""
    decode = CapturedDecode(backend, 4, 64)
    shorter = [length - 1 for length in LENGTHS]
    TorchBackend.forward(backend, batch_of(shorter, 0))
    for lengths in (shorter, LENGTHS):
        found = decode.run(batch_of(lengths, -1))
        plain = TorchBackend.forward(backend, batch_of(lengths, -1))
        assert torch.allclose(plain, found, atol=1e-4)


@pytest.mark.parametrize("is_paged", [True, False])
def test_every_decode_that_a_capture_promises_fits_one(is_paged):
    sizes = decode_sizes(40, 2000, is_paged=is_paged)
    assert sizes[0] == max(sizes, key=lambda size: size[0] * size[1]), "others fit its memory"
    longest = 2000 if is_paged else 256
    for rows in range(1, 41):
        assert any(size[0] >= rows and size[1] >= longest for size in sizes)
    if not is_paged:
        assert all(size[0] * size[1] <= 1 << 17 for size in sizes)
        assert {context for _, context in sizes} == {256, 1024, 2000}


def test_int8_weights_change_the_logits_little():
    torch.set_grad_enabled(False)
    model = small_model(hidden_size=128, num_attention_heads=4).bfloat16()
    layers = probe_layers(model)
    ids = torch.tensor(prompt_of(60))
    expected = sequence_logits(model, ids)
    before = sum(p.numel() * 2 for p in model.model.layers.parameters())
    made = CudaBackend(dtype="int8", device=torch.device("cpu"))
    made.prepare(model, layers)
    found = sequence_logits(model, ids)
    torch.set_grad_enabled(True)
    error = (found - expected).norm() / expected.norm()
    assert error < 0.1, float(error)
    assert made.name.startswith("cuda int8")
    assert "29 linears in int8, widened each time: not on a GPU" in made.notes
    after = sum(b.numel() * b.element_size() for b in model.model.layers.buffers())
    assert after < 0.6 * before


def test_few_rows_and_many_rows_are_the_same_product():
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 40).bfloat16()
    packed = Int8Linear(linear, multiply_few=lambda x, w, s: multiply_widened(x, w, s) * 1.0)
    x = torch.randn(1, FEW_ROWS, 96).bfloat16()
    with torch.no_grad():
        many, few, exact = packed(x)[0, 0], packed(x[:, :1])[0, 0], linear(x)[0, 0]
    assert torch.allclose(many, few, atol=1e-2)
    assert torch.allclose(many, exact, atol=3e-2)


def test_without_a_gpu_no_kernel_is_tried():
    assert find_kernel(torch.device("cpu"), torch.bfloat16) == (None, "not on a GPU")


@pytest.mark.parametrize(("kind", "fused"), [("llama", 9), ("qwen3", 17), ("gemma2", 0)])
def test_norms_are_fused_where_that_gives_the_same(kind, fused):
    """Gemma's weights count from 1: torch's norm would be something else."""
    torch.set_grad_enabled(False)
    model = small_model(kind).bfloat16()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.normal_(mean=0.5, std=0.2)
    probe_layers(model)
    ids = torch.tensor(prompt_of(30))
    expected = sequence_logits(model, ids)
    assert fuse_norms(model)[0] == fused
    assert sum(isinstance(module, FusedRmsNorm) for module in model.modules()) == fused
    found = sequence_logits(model, ids)
    torch.set_grad_enabled(True)
    assert (found - expected).norm() / expected.norm() < 0.02
