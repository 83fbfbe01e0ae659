"""Indices that lead outside the pages are refused before anything is read or written."""

from __future__ import annotations

from typing import Any

import pytest
import torch

PAGE, PAGES, HEADS, DIM = 32, 5, 2, 32
GOOD: dict[str, Any] = {
    "positions": [0, 1, 40],
    "slots": [32, 33, 4 * 32 + 8],
    "rows": [0, 0, 1],
    "table": [[1, 0], [2, 4]],
}
WRONG = {
    "a slot behind the last page": ({"slots": [32, 33, PAGES * PAGE]}, "slot 160"),
    "a slot below zero": ({"slots": [-1, 33, 136]}, "slot -1"),
    "a row without a sequence": ({"rows": [0, 0, 2]}, "sequence 2 of 2"),
    "a row below zero": ({"rows": [-1, 0, 1]}, "sequence -1"),
    "a position behind the table": ({"positions": [0, 1, 64]}, "position 64"),
    "a position below zero": ({"positions": [0, -3, 40]}, "position -3"),
    "a page that is not there": ({"table": [[1, 0], [2, PAGES]]}, "page 5 of 5"),
    "a page below zero": ({"table": [[-1, 0], [2, 4]]}, "page -1"),
}


def attend(kernels: Any, **changed: Any) -> torch.Tensor:
    given = {**GOOD, **changed}
    keys = torch.zeros(PAGES, HEADS, PAGE * DIM, dtype=torch.bfloat16)
    heads = torch.randn(3, 3, HEADS, DIM)
    return kernels.attend(
        *heads, keys, keys.clone(), PAGE,
        *(torch.tensor(given[name]) for name in ("positions", "slots", "rows")),
        torch.tensor(given["table"], dtype=torch.int32), 1.0, 0, 0.0, None,
    )  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_attention_refuses(kernels, name):
    changed, said = WRONG[name]
    with pytest.raises(IndexError, match=said):
        attend(kernels, **changed)


def test_what_a_context_does_not_reach_may_be_anything(kernels):
    assert attend(kernels).isfinite().all()
    assert attend(kernels, table=[[1, -7], [2, 4]]).isfinite().all()  # its second page isn't read


@pytest.mark.parametrize("name", WRONG)
def test_a_decoder_refuses(kernels, name):
    changed, said = WRONG[name]
    given = {**GOOD, **changed}
    width = HEADS * DIM
    pack = lambda outputs, inputs: kernels.Packed(torch.randn(outputs, inputs), 1, None)  # noqa: E731
    norms = {part: (torch.ones(width), 1e-5) for part in ("before_attention", "before_mlp")}
    decoder = kernels.Decoder(width)
    decoder.add_layer(
        qkv=pack(3 * width, width), out=pack(width, width), gate_up=pack(128, width),
        down=pack(width, 64), norms=norms, query_heads=HEADS, kv_heads=HEADS, dim=DIM, gate=0,
        residual_scale=1.0, scale=1.0, window=0, softcap=0.0, sinks=None,
    )  # fmt: skip
    keys = torch.zeros(PAGES, HEADS, PAGE * DIM, dtype=torch.bfloat16)
    decoder.set_pages(0, keys, keys.clone(), PAGE)
    step = [torch.tensor(given[part]) for part in ("positions", "slots", "rows")]
    table = torch.tensor(given["table"], dtype=torch.int32)
    with pytest.raises(IndexError, match=said):
        decoder.run_layers(torch.randn(3, width), *step, table, [], [-1], True)


def test_sinks_must_be_as_many_as_heads(kernels):
    keys = torch.zeros(PAGES, HEADS, PAGE * DIM, dtype=torch.bfloat16)
    heads, at = torch.randn(3, 1, HEADS, DIM), torch.zeros(1, dtype=torch.int64)
    table = torch.zeros(1, 1, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="one value per head"):
        kernels.attend(*heads, keys, keys, PAGE, at, at, at, table, 1.0, 0, 0.0, torch.zeros(1))
