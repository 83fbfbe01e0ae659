"""Penalties for tokens that were there before: repetition, presence and frequency.

Repetition: Keskar et al., 2019; presence and frequency as in OpenAI's API.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from inference.contract import SamplingParams
from inference.engine.device import move

Change = tuple[Tensor | slice, Tensor]
"""Places in the flattened logits, and what stood there before."""


class TokenCounts:
    """The tokens that penalties look at, side by side, and how often the answer has each.

    Arrays, so that a step takes them over in one copy however long the answer is.
    """

    def __init__(self, seen: Iterable[int]) -> None:
        """`seen` tokens are penalised for repetition alone until the answer has them."""
        self.tokens = array("q", dict.fromkeys(seen))
        self.counts = array("f", bytes(4 * len(self.tokens)))
        self._places = {token: place for place, token in enumerate(self.tokens)}

    @classmethod
    def of(
        cls, sampling: SamplingParams, prompt: Sequence[int], answer: Iterable[int]
    ) -> TokenCounts | None:
        """The counts of a prompt and the beginning of its answer; None without penalties."""
        repeats = sampling.repetition_penalty != 1
        if not repeats and sampling.presence_penalty == 0 and sampling.frequency_penalty == 0:
            return None
        counts = cls(prompt if repeats else ())
        for token in answer:
            counts.add(token)
        return counts

    def add(self, token_id: int) -> None:
        """Count a token of the answer."""
        place = self._places.setdefault(token_id, len(self.tokens))
        if place == len(self.tokens):
            self.tokens.append(token_id)
            self.counts.append(0)
        self.counts[place] += 1


def penalise(
    flat: Tensor,
    rows: Sequence[tuple[int, TokenCounts, SamplingParams]],
    *,
    vocab_size: int,
) -> list[Change]:
    """Penalise the counted tokens of some rows in flattened logits (R * V), in place.

    `rows` are (row, counts, parameters). One gather and one scatter for all of them. Returns what
    was changed.
    """
    rows = [row for row in rows if row[1].tokens]
    if not rows:
        return []
    tokens, counts, owners = array("q"), array("f"), array("q")
    for n, (_, row_counts, _) in enumerate(rows):
        tokens += row_counts.tokens
        counts += row_counts.counts
        owners += array("q", [n]) * len(row_counts.tokens)
    owner = torch.frombuffer(owners, dtype=torch.int64)
    base = torch.tensor([row for row, _, _ in rows])[owner] * vocab_size
    factors = [(s.repetition_penalty, s.presence_penalty, s.frequency_penalty) for _, _, s in rows]
    scale, presence, frequency = torch.tensor(factors).T[:, owner]
    count = torch.frombuffer(counts, dtype=torch.float32)
    minus = move(presence * (count > 0) + frequency * count, flat.device)
    at = move(torch.frombuffer(tokens, dtype=torch.int64) + base, flat.device)
    scale = move(scale, flat.device)
    before = flat[at]
    flat[at] = torch.where(before > 0, before / scale, before * scale) - minus
    return [(at, before)]
