"""What happens to a request, in order: engine -> worker -> Redis Stream -> readers."""

from __future__ import annotations

from dataclasses import dataclass

from inference.contract.clock import Stamp
from inference.contract.codes import ErrorCode, FinishReason, Phase

LOGPROB_FLOOR = -1e9
"""Log-probability of a token that can't come. JSON has no -inf, so it is never one."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probabilities at one position, natural logarithm, after temperature is NOT applied.

    `chosen` is that of the sampled token under the model's raw distribution, `sampled` under the
    distribution it was drawn from; `top` the n likeliest raw ones as (token id, logprob).
    """

    chosen: float
    sampled: float
    top: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        values = (self.chosen, self.sampled, *(logprob for _, logprob in self.top))
        if min(values) < LOGPROB_FLOOR:
            object.__setattr__(self, "chosen", max(self.chosen, LOGPROB_FLOOR))
            object.__setattr__(self, "sampled", max(self.sampled, LOGPROB_FLOOR))
            top = tuple((token, max(logprob, LOGPROB_FLOOR)) for token, logprob in self.top)
            object.__setattr__(self, "top", top)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker has taken the request up: the first entry of each attempt, written with its claim.

    With this stamp's boot id the monotonic readings of the attempt's other events are complete
    stamps, so that a lost attempt, which has no Result, still has its timeline.
    """

    request_id: str
    attempt: int
    worker: str
    stamp: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What happens before the first token. Prefill counts prompt tokens, loading counts bytes.

    The first `prefill` event of an attempt is its admission; `mono_ns` is when.
    """

    request_id: str
    attempt: int
    phase: Phase
    done: int = 0
    total: int = 0
    mono_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """New tokens of an answer and the text they completed.

    `position` is the index in the whole answer of the first of `token_ids`; `text_offset` the index
    in code points where `text` goes. Text lags behind tokens while a character or a possible stop
    string is incomplete, so `text` may be empty. `mono_ns` is when the last token was sampled.
    """

    request_id: str
    attempt: int
    position: int
    token_ids: tuple[int, ...]
    text: str
    text_offset: int
    mono_ns: int
    logprobs: tuple[TokenLogprobs, ...] = ()
    records: bytes = b""  # one TOKEN_RECORD a token, where the request wants them


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one attempt ended; the truth about the request. Stamps are None where never reached.

    `completion_tokens` counts every sampled token of the whole answer, `continue_from`, end token
    and tokens of a held-back stop string included. `text_tail` is text released only at the end
    (the last partial character as U+FFFD), to be put at `text_offset`. `token_mono_ns` has one
    reading per token sampled by this attempt.
    """

    request_id: str
    attempt: int
    finish_reason: FinishReason
    error_code: ErrorCode | None = None
    error_text: str = ""
    stop_string: str | None = None
    text_tail: str = ""
    text_offset: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    continued_tokens: int = 0  # of completion_tokens, those given as continue_from
    started: Stamp | None = None
    admitted: Stamp | None = None
    first_token: Stamp | None = None
    last_token: Stamp | None = None
    token_mono_ns: tuple[int, ...] = ()
    batch_mean: float | None = None
    worker: str = ""
    device: str = ""
    model_revision: str = ""
    dtype: str = ""
    tpot_floor_us: float | None = None  # docs/measures.md, What the hardware allows
    prefill_floor_us: float | None = None
    seed: int | None = None
    echo: tuple[TokenLogprobs, ...] = ()


Event = Started | Progress | Delta | Result
EVENT_TYPES: dict[str, type[Event]] = {
    "started": Started,  # written by the worker, never by the engine
    "progress": Progress,
    "delta": Delta,
    "result": Result,
}
