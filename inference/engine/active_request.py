"""A request inside the engine: its tokens, its blocks, its status and what it measured.

Plain state, changed by the scheduler (blocks, status) and the core (tokens, stamps). Holds no
tensors, and nothing of the answer's text: that is output.py's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from inference.contract import GenerationRequest, SamplingParams, Stamp, TokenLogprobs
from inference.engine.sampling.grammar import AnswerGrammar
from inference.engine.sampling.penalties import TokenCounts
from inference.engine.sampling.token_constraints import TokenConstraints


class RequestStatus(enum.Enum):
    """Where a request is in the engine."""

    PREPARING = "preparing"  # its grammar is being compiled; the scheduler doesn't know it yet
    WAITING = "waiting"  # in the scheduler's queue: new, or preempted when pages ran out
    RUNNING = "running"  # owns blocks; prefilling or decoding
    FINISHED = "finished"


@dataclass(slots=True, eq=False)
class ActiveRequest:
    """One request from submit to its Result. `eq=False`: compared by identity, usable in sets."""

    request: GenerationRequest
    token_ids: list[int]  # prompt, continue_from, then what was sampled
    arrival: int  # counts submits; decides among equal priorities
    seed: int
    started: Stamp
    status: RequestStatus = RequestStatus.WAITING

    # pages
    blocks: list[int] = field(default_factory=list)
    root: bytes = b""  # the digest before the first block; set by the scheduler
    digests: list[bytes] = field(default_factory=list)  # of the published or matched blocks
    num_dropped: int = 0  # leading blocks given back because every layer's window has passed them
    num_computed: int = 0  # tokens whose keys and values lie in the pages
    num_cached_tokens: int = 0  # of the prompt, found in the pages at first admission
    is_short: bool = False  # had little to compute when it was admitted

    # answer
    grammar: AnswerGrammar | None = None
    counts: TokenCounts | None = None  # None: no penalties
    token_constraints: TokenConstraints | None = None  # None: any token may come
    echo: list[TokenLogprobs] = field(default_factory=list)

    # measured
    admitted: Stamp | None = None
    preemptions: int = 0

    def __post_init__(self) -> None:
        prompt = self.request.prompt_token_ids
        answer = self.token_ids[len(prompt) :]
        self.counts = TokenCounts.of(self.sampling, prompt, answer)
        self.token_constraints = TokenConstraints.of(self.sampling)

    def append(self, token_id: int) -> None:
        """Take a token into the answer."""
        self.token_ids.append(token_id)
        if self.counts is not None:
            self.counts.add(token_id)

    @property
    def id(self) -> str:
        """The request's id, the same in every attempt."""
        return self.request.request_id

    @property
    def sampling(self) -> SamplingParams:
        """How its tokens are chosen."""
        return self.request.sampling

    @property
    def priority(self) -> int:
        """Smaller runs first."""
        return self.request.priority

    @property
    def queue_key(self) -> tuple[int, int]:
        """Smaller runs first: people before programs, then in order of arrival."""
        return (self.request.priority, self.arrival)

    @property
    def num_prompt(self) -> int:
        """Tokens of the prompt."""
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
    def wants_record(self) -> bool:
        """Whether it is kept how each of its tokens was chosen."""
        return self.request.wants_records

    @property
    def is_constrained(self) -> bool:
        """Whether its own rules may leave no token."""
        is_early = self.num_answer < self.sampling.min_tokens
        return is_early or self.grammar is not None or self.token_constraints is not None

    @property
    def is_decoding(self) -> bool:
        """Whether it runs and needs one token computed to sample the next."""
        return self.status is RequestStatus.RUNNING and self.num_uncomputed == 1
