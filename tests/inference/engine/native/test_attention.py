"""The paged attention kernel against float64, whole and cut into steps of any size."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
import torch

PAGE = 32
LENGTHS = [5, 300, 1030, 40, 1]  # below a tile, several chunks, beyond two segments of 512


@dataclass
class Rule:
    query_heads: int = 6
    kv_heads: int = 2
    dim: int = 64
    window: int = 0
    softcap: float = 0.0
    has_sinks: bool = False
    scale: float = field(init=False)

    def __post_init__(self):
        self.scale = self.dim**-0.5


RULES = {
    "grouped heads": Rule(),
    "short window": Rule(4, 2, 32, window=16),
    "long window": Rule(window=700),
    "soft cap": Rule(7, 1, 128, softcap=2.0),
    "sinks and window": Rule(window=300, has_sinks=True),
    "wide heads": Rule(2, 2, 256),
}


class Sequences:
    """Random queries, keys and values (exact in bf16) over scattered pages."""

    def __init__(self, kernels, rule):
        self.kernels, self.rule = kernels, rule
        widths = [-(-n // PAGE) for n in LENGTHS]
        pages = (torch.randperm(sum(widths)) + 1).int()
        self.table = torch.zeros(len(LENGTHS), max(widths), dtype=torch.int32)
        for row, part in enumerate(pages.split(widths)):
            self.table[row, : len(part)] = part
        shape = (sum(widths) + 1, rule.kv_heads, PAGE * rule.dim)
        self.keys = torch.zeros(shape, dtype=torch.bfloat16)
        self.values = torch.zeros_like(self.keys)
        heads = (rule.query_heads, rule.kv_heads, rule.kv_heads)
        self.q, self.k, self.v = (
            [torch.randn(n, count, rule.dim).bfloat16().float() for n in LENGTHS] for count in heads
        )
        self.sinks = torch.randn(rule.query_heads) if rule.has_sinks else None
        self.whole = self.step([(row, 0, n) for row, n in enumerate(LENGTHS)])

    def step(self, parts):
        """Attend for tokens begin..end of some sequences; parts are (row, begin, end)."""
        positions = torch.cat([torch.arange(a, b) for _, a, b in parts])
        rows = torch.cat([torch.full((b - a,), row) for row, a, b in parts])
        slots = self.table[rows, positions // PAGE].long() * PAGE + positions % PAGE
        out = self.kernels.attend(
            *(torch.cat([x[row][a:b] for row, a, b in parts]) for x in (self.q, self.k, self.v)),
            self.keys, self.values, PAGE, positions, slots, rows, self.table,
            self.rule.scale, self.rule.window, self.rule.softcap, self.sinks,
        )  # fmt: skip
        return out.split([b - a for _, a, b in parts])

    def expected(self, row, at):
        """Attention of one token in float64: (query_heads, dim)."""
        rule = self.rule
        begin = max(0, at + 1 - rule.window) if rule.window else 0
        per_kv = rule.query_heads // rule.kv_heads
        k = self.k[row][begin : at + 1].double().repeat_interleave(per_kv, dim=1)
        v = self.v[row][begin : at + 1].double().repeat_interleave(per_kv, dim=1)
        scores = torch.einsum("hd,thd->ht", self.q[row][at].double(), k) * rule.scale
        if rule.softcap:
            scores = rule.softcap * torch.tanh(scores / rule.softcap)
        if self.sinks is not None:
            scores = torch.cat([scores, self.sinks.double()[:, None]], dim=1)
        weights = scores.softmax(dim=1)[:, : v.shape[0]]
        return torch.einsum("ht,thd->hd", weights, v)


@pytest.fixture(scope="module", params=RULES)
def sequences(request, kernels):
    """Sequences by each rule, attended to as one step; what the tests of this file share."""
    torch.manual_seed(0)
    return Sequences(kernels, RULES[request.param])


def test_attention_agrees_with_float64(sequences):
    for row, n in enumerate(LENGTHS):
        for at in {0, n // 2, n - 1}:
            expected = sequences.expected(row, at)
            error = (sequences.whole[row][at] - expected).abs().max() / expected.abs().max()
            assert error < 0.004, f"sequence {row} at {at}"  # weights are rounded to bf16


def test_any_cut_into_steps_and_any_neighbours_give_the_same_bits(sequences):
    sequences.keys.zero_(), sequences.values.zero_()
    draw = random.Random(1)
    done, got = [0] * len(LENGTHS), [[] for _ in LENGTHS]
    while done != LENGTHS:
        parts = []
        for row, n in enumerate(LENGTHS):
            count = min(n - done[row], draw.choice([0, 1, 3, 37, 200]))
            if count:
                parts.append((row, done[row], done[row] + count))
                done[row] += count
        for (row, _, _), out in zip(parts, sequences.step(parts) if parts else [], strict=True):
            got[row].append(out)
    for row in range(len(LENGTHS)):
        assert torch.equal(torch.cat(got[row]), sequences.whole[row])


def test_old_tokens_in_a_page_that_was_used_before_change_nothing(sequences):
    sequences.keys.fill_(7.0), sequences.values.fill_(7.0)
    assert torch.equal(sequences.step([(0, 0, 5)])[0], sequences.whole[0])
