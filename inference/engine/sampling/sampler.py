"""Chooses the next token of every row of a step at once, each by its request's own parameters.

Order: logit bias and bans, repetition, presence and frequency penalties, grammar, temperature,
top-k, top-p, min-p, then one draw by inverse transform from the number that (seed, position) gives.
The logits are adjusted here; a SamplingBackend draws. Doesn't know schedules or text; a row whose
logits aren't finite is reported, not sampled.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import torch
from torch import Tensor

from inference.contract import CANDIDATES, ErrorCode, SamplingParams, TokenLogprobs
from inference.engine.device import move, to_device
from inference.engine.sampling.grammar import AnswerGrammar
from inference.engine.sampling.penalties import Change, TokenCounts, penalise
from inference.engine.sampling.sampling_backend import (
    NOT_FINITE,
    Described,
    SamplingBackend,
    SamplingRow,
)
from inference.engine.sampling.token_constraints import TokenConstraints
from inference.engine.sampling.token_records import TokenRecords
from inference.engine.sampling.torch_sampler import TorchSampler

NO_TOKEN_LEFT = -2
"""Stands for the token of a row whose request has ruled every token out."""
WHY_NO_TOKEN = {
    NOT_FINITE: (ErrorCode.BAD_LOGITS, "The model's output was not a number."),
    NO_TOKEN_LEFT: (
        ErrorCode.NO_TOKEN_ALLOWED,
        "The request's rules leave no token that may come next.",
    ),
}
"""What a token below 0 means for its request."""


class SamplingState(Protocol):
    """What the sampler reads of a request."""

    @property
    def sampling(self) -> SamplingParams:
        """Its parameters."""

    @property
    def seed(self) -> int:
        """The seed of its random numbers."""

    @property
    def token_ids(self) -> Sequence[int]:
        """Prompt and answer so far."""

    @property
    def num_answer(self) -> int:
        """How many of `token_ids`, at their end, are the answer."""

    @property
    def counts(self) -> TokenCounts | None:
        """What penalties look at; None without penalties."""

    @property
    def token_constraints(self) -> TokenConstraints | None:
        """Bad words and allowed tokens; None where any token may come."""

    @property
    def grammar(self) -> AnswerGrammar | None:
        """Where a constrained answer stands; None for free text."""

    @property
    def wants_record(self) -> bool:
        """Whether it is kept how the token was chosen."""

    @property
    def is_constrained(self) -> bool:
        """Whether its own rules may leave no token."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """The tokens that a step's rows chose. One below 0 says why its row has none (WHY_NO_TOKEN)."""

    token_ids: list[int]
    logprobs: list[TokenLogprobs | None]
    records: list[bytes]  # a TOKEN_RECORD, or b"" where none is wanted


class Sampler:
    """Samples one token per row. `eos_token_ids` are banned while min_tokens isn't reached."""

    def __init__(
        self,
        *,
        vocab_size: int,
        eos_token_ids: Sequence[int],
        device: torch.device,
        backend: SamplingBackend | None = None,
    ) -> None:
        self._backend = backend or TorchSampler(device)
        self.vocab_size = vocab_size
        self.eos_token_ids = [token for token in eos_token_ids if token < vocab_size]
        self.device = device

    def sample(
        self, logits: Tensor, requests: Sequence[SamplingState], *, width: int = 0
    ) -> Sampled:
        """logits (R, V) float32, row i belongs to requests[i]. `logits` is changed in place.

        `width` is how many requests share the step, for the records. Raises nothing for bad logits:
        NaN or +inf anywhere in a row, or a row of -inf, makes that row not finite and touches no
        other.
        """
        wanted = [i for i, r in enumerate(requests) if r.sampling.logprobs is not None]
        recorded = [i for i, r in enumerate(requests) if r.wants_record]
        described = self._describe(logits, recorded) if recorded else None
        changed = self._adjust(logits, requests)
        rows = [_row(request) for request in requests]
        tokens, logp, cuts = self._backend.sample(
            logits, rows, wants_logp=bool(wanted or recorded), wants_cuts=bool(recorded)
        )
        for i, request in enumerate(requests):
            if tokens[i] < 0 and request.is_constrained and bool((logits[i] == -math.inf).all()):
                tokens[i] = NO_TOKEN_LEFT
        is_raw = not changed

        def restore() -> None:
            nonlocal is_raw
            if not is_raw:
                for at, before in reversed(changed):
                    logits.view(-1)[at] = before
            is_raw = True

        found: list[TokenLogprobs | None] = [None] * len(requests)
        if wanted:
            restore()  # log-probabilities are those of the raw logits
            raw = logits if len(wanted) == len(requests) else logits[self._tensor(wanted)]
            top = [requests[i].sampling.logprobs or 0 for i in wanted]
            entries = self._backend.logprobs(raw, [max(tokens[i], 0) for i in wanted], top)
            for i, entry in zip(wanted, entries, strict=True):
                found[i] = dataclasses.replace(entry, sampled=logp[i])
        records = [b""] * len(requests)
        if described is not None:
            batch = TokenRecords(
                described,
                tokens=[tokens[i] for i in recorded],
                logp=[logp[i] for i in recorded],
                cuts=[cuts[i] for i in recorded],
                uniforms=[rows[i].uniform for i in recorded],
                width=width,
            )
            for place in batch.not_among_likeliest():
                restore()
                batch.rank_in(place, logits[recorded[place]])
            for i, record in zip(recorded, batch.wire(), strict=True):
                records[i] = record
        return Sampled(tokens, found, records)

    def _describe(self, logits: Tensor, recorded: Sequence[int]) -> Described:
        rows = logits if len(recorded) == len(logits) else logits[self._tensor(recorded)]
        return self._backend.describe(rows, CANDIDATES)

    def logprobs(
        self, logits: Tensor, token_ids: Sequence[int], top: Sequence[int]
    ) -> list[TokenLogprobs]:
        """Log-probabilities of given tokens, one per row of raw logits; see SamplingBackend."""
        return self._backend.logprobs(logits, token_ids, top)

    def _tensor(self, values: Sequence[Any], dtype: torch.dtype = torch.int64) -> Tensor:
        return to_device(values, dtype, self.device)

    def _banned(self, request: SamplingState) -> set[int]:
        """The tokens banned next: the end token before min_tokens, and what would complete a bad
        word.

        A grammar may allow nothing but the end, so with one it may come early.
        """
        sampling = request.sampling
        banned: set[int] = set()
        if request.num_answer < sampling.min_tokens and request.grammar is None:
            banned |= set(sampling.stop_token_ids)
            if not sampling.ignore_eos:
                banned |= set(self.eos_token_ids)
        if request.token_constraints is not None:
            banned |= request.token_constraints.banned(request.token_ids, request.num_answer)
        return banned

    def _adjust(self, logits: Tensor, requests: Sequence[SamplingState]) -> list[Change]:
        """Bias, bans and penalties, only where asked for, with one gather and scatter for all.

        Returns what was changed, in order.
        """
        at: list[int] = []
        add: list[float] = []
        for row, request in enumerate(requests):
            base = row * self.vocab_size
            for token, bias in request.sampling.logit_bias:
                if token < self.vocab_size:
                    at.append(base + token)
                    add.append(bias)
            banned = [token for token in self._banned(request) if token < self.vocab_size]
            at += [base + token for token in banned]
            add += [-math.inf] * len(banned)
        flat = logits.view(-1)
        changed: list[Change] = []
        if at:
            where = self._tensor(at)
            changed.append((where, flat[where]))
            flat.index_add_(0, where, self._tensor(add, torch.float32))
        counted = [
            (row, request.counts, request.sampling)
            for row, request in enumerate(requests)
            if request.counts is not None
        ]
        changed += penalise(flat, counted, vocab_size=self.vocab_size)
        for row, request in enumerate(requests):
            allowed = request.token_constraints and request.token_constraints.allowed
            if request.grammar is None and not allowed:
                continue
            if request.sampling.logprobs is not None or request.wants_record:
                whole = slice(row * self.vocab_size, (row + 1) * self.vocab_size)
                changed.append((whole, flat[whole].clone()))
            if request.grammar is not None:
                logits[row].masked_fill_(request.grammar.forbidden().to(self.device), -math.inf)
            if allowed:
                self._keep_only(logits[row], allowed)
        return changed

    def _keep_only(self, row: Tensor, allowed: array[int]) -> None:
        """Ban every token of a row (V,) except these ids. A row that is not finite stays so."""
        ids = torch.frombuffer(allowed, dtype=torch.int64)
        at = move(ids[ids < self.vocab_size], self.device)
        kept = row[at]
        row.masked_fill_(~row.isnan(), -math.inf)
        row[at] = kept


def uniform_at(seed: int, position: int) -> float:
    """53 random bits of (seed, position) as a float in [0, 1).

    The number that decides the token at that position of an answer. It depends on nothing else, so
    that an answer resumed, preempted or batched with others draws the same numbers.
    """
    digest = blake2b(struct.pack("<qq", seed, position), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def _row(request: SamplingState) -> SamplingRow:
    sampling = request.sampling
    if sampling.temperature <= 0:
        return SamplingRow(0.0)
    return SamplingRow(
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        sampling.min_p,
        uniform_at(request.seed, request.num_answer),
    )
