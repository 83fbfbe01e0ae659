"""What of the CUDA backend can be known without a GPU: its padding, and that it falls back."""

from __future__ import annotations

import pytest
import torch

from inference.engine.backends.captured_decode import CapturedDecode
from inference.engine.backends.cuda_backend import CudaBackend
from inference.engine.backends.probe import probe_layers
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
