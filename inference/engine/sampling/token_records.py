"""Puts together what is kept of each token of a step: TOKEN_RECORDs of the contract.

Takes what the backend says of the raw logits before they are adjusted, and of the cuts behind the
draw; computes nothing from logits itself, but for the rank of a token that isn't among the
likeliest. Plain packing: NumPy's calls, each with cold caches, would take longer than the kernels.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from inference.contract import CANDIDATES, NO_TOKEN, TOKEN_RECORD_BYTES
from inference.engine.sampling.sampling_backend import Cut, Described

SCALARS = struct.Struct("<2I9fI3fdH")
"""TOKEN_RECORD up to its candidates, in its order."""
assert SCALARS.size == TOKEN_RECORD_BYTES - 8 * CANDIDATES


class TokenRecords:
    """The records of some rows of one step; a row without a token gets b""."""

    def __init__(
        self,
        described: Described,
        *,
        tokens: Sequence[int],
        logp: Sequence[float],
        cuts: Sequence[Cut],
        uniforms: Sequence[float],
        width: int,
    ) -> None:
        self._described = described
        self._tokens, self._logp, self._cuts = tokens, logp, cuts
        self._uniforms, self._width = uniforms, width
        self._best = described.best.tolist()
        self._ranks: list[tuple[int, float]] = []  # with the distance from the largest logit
        for ids, below, token in zip(
            described.ids.tolist(), described.below_best.tolist(), tokens, strict=True
        ):
            place = ids.index(token) if token in ids else -1
            self._ranks.append((place + 1, below[place]))

    def not_among_likeliest(self) -> list[int]:
        """Places of the rows whose token has no rank yet."""
        return [
            at
            for at, ((rank, _), token) in enumerate(zip(self._ranks, self._tokens, strict=True))
            if not rank and token >= 0
        ]

    def rank_in(self, place: int, row: Tensor) -> None:
        """Find the rank of a row's token in its raw logits (V,)."""
        own = row[int(self._tokens[place])]
        rank = int((row > own).sum()) + 1
        self._ranks[place] = (rank, self._best[place][0] - float(own))

    def wire(self) -> list[bytes]:
        """One TOKEN_RECORD each."""
        ids, below = self._described.ids, self._described.below_best
        count = ids.shape[1]
        if count < CANDIDATES:
            missing = ((0, 0), (0, CANDIDATES - count))
            ids = np.pad(ids.astype(np.int64), missing, constant_values=NO_TOKEN)
            below = np.pad(below, missing, constant_values=np.inf)
        all_ids, all_below = ids.astype("<u4").tobytes(), below.astype("<f4").tobytes()
        size = 4 * CANDIDATES
        records = []
        for at, token in enumerate(self._tokens):
            if token < 0:
                records.append(b"")
                continue
            (best, best_logprob, entropy), cut = self._best[at], self._cuts[at]
            rank, below_best = self._ranks[at]
            scalars = SCALARS.pack(
                *(token, rank, best, best_logprob, below_best, entropy),
                *(cut.best, cut.log_total, cut.best_mass, cut.mass_k, cut.kept_mass),
                *(cut.kept, cut.floor, self._logp[at], cut.below),
                *(self._uniforms[at], self._width),
            )
            place = slice(at * size, (at + 1) * size)
            records.append(scalars + all_ids[place] + all_below[place])
        return records
