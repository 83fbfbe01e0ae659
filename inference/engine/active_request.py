"""A request inside the engine: its tokens, its blocks, its phase and what it measured.

Plain state, changed by the scheduler (blocks, phase) and the engine (tokens, stamps). Holds no
tensors.
"""

from __future__ import annotations

import enum
import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

from inference.contract import GenerationRequest, Stamp, TokenLogprobs
from inference.engine.sampling.token_constraints import Restrictions
from inference.engine.scheduling.kv_cache import ROOT, salted_root


class RequestStatus(enum.Enum):
    PREPARING = "preparing"  # its grammar is being compiled; not in line yet
    WAITING = "waiting"  # in line, or thrown back when pages ran out
    RUNNING = "running"  # owns blocks; prefilling or decoding
    FINISHED = "finished"


class Detokenizer(Protocol):
    """What the engine needs of inference.text's detokeniser."""

    @property
    def stopped(self) -> str | None: ...

    def feed(self, token_id: int) -> str: ...

    def finish(self) -> str: ...


class Grammar(Protocol):
    """Where a constrained answer stands (grammar.py)."""

    def forbidden(self) -> Any:
        """Which tokens may not come next: a bool tensor (V,) on the CPU."""

    def accept(self, token_id: int) -> None: ...

    @property
    def is_finished(self) -> bool: ...


class TokenCounts:
    """The tokens that penalties look at, side by side, and how often the answer has each.

    Arrays, so that a step takes them over in one copy however long the answer is.
    """

    def __init__(self, seen: Iterable[int]) -> None:
        """`seen` tokens are penalised for repetition alone until the answer has them."""
        self.tokens = array("q", dict.fromkeys(seen))
        self.counts = array("f", bytes(4 * len(self.tokens)))
        self._places = {token: place for place, token in enumerate(self.tokens)}

    def add(self, token_id: int) -> None:
        """Count a token of the answer."""
        place = self._places.setdefault(token_id, len(self.tokens))
        if place == len(self.tokens):
            self.tokens.append(token_id)
            self.counts.append(0)
        self.counts[place] += 1


@dataclass(slots=True)
class Told:
    """What has been told of an answer so far. Belongs to answers.py and to the thread it runs in:
    it lags behind the tokens that the core has sampled.
    """

    detokenizer: Detokenizer | None = None
    num_tokens: int = 0  # continue_from included
    text_offset: int = 0
    stop_string: str | None = None
    token_mono_ns: list[int] = field(default_factory=list)
    first_token: Stamp | None = None
    batch_sum: int = 0  # of the steps that gave the second and later tokens
    is_over: bool = False  # its Result is told; whatever else comes is surplus


@dataclass(slots=True, eq=False)
class ActiveRequest:
    """One request from submit to its Result. `eq=False`: it is itself, and can be put in sets."""

    request: GenerationRequest
    token_ids: list[int]  # prompt, continue_from, then what was sampled
    arrival: int  # counts submits; decides among equal priorities
    seed: int
    started: Stamp
    phase: RequestStatus = RequestStatus.WAITING

    # pages
    blocks: list[int] = field(default_factory=list)
    root: bytes = ROOT  # the digest before the first block
    digests: list[bytes] = field(default_factory=list)  # of the published or matched blocks
    num_dropped: int = 0  # leading blocks given back because every layer's window has passed them
    num_computed: int = 0  # tokens whose keys and values lie in the pages
    num_cached_tokens: int = 0  # of the prompt, found in the pages at first admission
    is_short: bool = False  # had little to compute when it was admitted

    # answer
    grammar: Grammar | None = None
    counts: TokenCounts | None = None  # None: no penalties
    restrictions: Restrictions | None = None  # None: any token may come
    echo: list[TokenLogprobs] = field(default_factory=list)
    told: Told = field(default_factory=Told)

    # measured
    admitted: Stamp | None = None
    preemptions: int = 0

    def __post_init__(self) -> None:
        sampling, prompt = self.request.sampling, self.request.prompt_token_ids
        repeats = sampling.repetition_penalty != 1
        if repeats or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0:
            self.counts = TokenCounts(prompt if repeats else ())
            for token in self.token_ids[len(prompt) :]:
                self.counts.add(token)
        self.restrictions = Restrictions.of(sampling)
        self.root = salted_root(self.request.cache_salt)

    def append(self, token_id: int) -> None:
        """Take a token into the answer."""
        self.token_ids.append(token_id)
        if self.counts is not None:
            self.counts.add(token_id)

    @property
    def id(self) -> str:
        return self.request.request_id

    @property
    def priority(self) -> int:
        return self.request.priority

    @property
    def num_prompt(self) -> int:
        return len(self.request.prompt_token_ids)

    @property
    def num_answer(self) -> int:
        """Tokens of the whole answer so far, continue_from included."""
        return len(self.token_ids) - len(self.request.prompt_token_ids)

    @property
    def has_sampled(self) -> bool:
        """Whether this attempt has given a token."""
        return self.num_answer > len(self.request.continue_from)

    @property
    def num_uncomputed(self) -> int:
        """Tokens that must pass through the model before the next can be sampled; 1 in decode."""
        return len(self.token_ids) - self.num_computed

    @property
    def wants_echo(self) -> bool:
        """Whether log-probabilities of prompt tokens are still to be collected."""
        if self.request.echo_logprobs is None:
            return False
        return len(self.echo) < self.num_prompt - 1

    @property
    def is_restricted(self) -> bool:
        """Whether its own rules may leave no token."""
        early = self.num_answer < self.request.sampling.min_tokens
        return early or self.grammar is not None or self.restrictions is not None

    @property
    def is_decoding(self) -> bool:
        return self.phase is RequestStatus.RUNNING and self.num_uncomputed == 1

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller goes first: people before batches, then who came first."""
        return (self.request.priority, self.arrival)

    def uniform(self) -> float:
        """The random number in [0, 1) that decides the next token.

        Depends on seed and position alone, so that an answer resumed, preempted or batched with
        others draws the same numbers.
        """
        return uniform_at(self.seed, self.num_answer)


def uniform_at(seed: int, position: int) -> float:
    """53 random bits of (seed, position) as a float in [0, 1)."""
    digest = blake2b(struct.pack("<qq", seed, position), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53
