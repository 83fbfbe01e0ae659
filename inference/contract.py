"""What crosses the boundary between the site and the transformer, and its wire form.

Frozen dataclasses of the standard library alone: the web processes, the worker and the engine all
speak these types and nothing else. `to_wire` / `from_wire` give JSON text; a field this version
doesn't know is ignored, so that a newer web process can talk to an older worker during an upgrade.

Doesn't know how anything is transported (streams.py) or computed (engine/).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

FinishReason = Literal["stop", "length", "cancelled", "failed", "interrupted"]
"""The terminal states of a request. Each request ends in exactly one."""

Source = Literal["chat", "api"]

GrammarKind = Literal["schema", "regex", "grammar"]

PRIORITY_PERSON = 0
PRIORITY_BATCH = 1001  # with up to 1000 either way: never before a person


class InvalidField(ValueError):
    """A value outside its range. `field` names it, `str(error)` says the range in a sentence."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# --- time ----------------------------------------------------------------------------------------


@functools.cache
def boot_id() -> str:
    """Identify this boot of this host; monotonic clocks compare only within one boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"process-{time.time_ns()}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment on both clocks: `wall_us` since the epoch, `mono_ns` since this boot."""

    wall_us: int
    mono_ns: int
    boot: str

    @classmethod
    def now(cls) -> Stamp:
        return cls(time.time_ns() // 1000, time.monotonic_ns(), boot_id())

    def at_mono(self, mono_ns: int) -> Stamp:
        """The stamp of another moment of the same boot, given its monotonic reading."""
        return Stamp(self.wall_us + (mono_ns - self.mono_ns) // 1000, mono_ns, self.boot)


def offset_us(origin: Stamp, moment: Stamp) -> tuple[int, bool]:
    """Microseconds from `origin` to `moment`, and whether the figure is exact.

    Exact within one boot (monotonic clock). Across hosts the wall clocks' difference, never below
    zero, and marked as inexact.
    """
    if origin.boot == moment.boot:
        return max(0, moment.mono_ns // 1000 - origin.mono_ns // 1000), True
    return max(0, moment.wall_us - origin.wall_us), False


# --- requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen, and when to stop.

    Applied in this order: logit bias and bans, repetition, presence and frequency penalties,
    temperature, top-k, top-p, min-p. `temperature` 0 is greedy: the other samplers don't change the
    choice. Raises InvalidField naming the field and its range.
    """

    temperature: float = 1.0
    top_k: int = 0  # 0 keeps the whole vocabulary
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None  # None: the client draws one, so that a resumed answer goes on alike
    stop: tuple[str, ...] = ()
    max_tokens: int = 1024
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None  # None: no log-probabilities; n: the chosen token's and the top n
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop_token_ids: tuple[int, ...] = ()  # end the answer, also where ignore_eos is set
    allowed_token_ids: tuple[int, ...] | None = None  # no other may come, not even the end token
    bad_token_ids: tuple[tuple[int, ...], ...] = ()  # sequences that the answer may not complete
    skip_special_tokens: bool = True  # False: the text spells them out
    keeps_first_space: bool = False  # the answer goes on in the middle of the prompt's text

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {
        "temperature": (0.0, 2.0),
        "top_k": (0, 1_000_000),
        "top_p": (0.0, 1.0),
        "min_p": (0.0, 1.0),
        "repetition_penalty": (0.01, 10.0),
        "presence_penalty": (-2.0, 2.0),
        "frequency_penalty": (-2.0, 2.0),
        "seed": (-(2**63), 2**63 - 1),
        "max_tokens": (1, 1_000_000),
        "min_tokens": (0, 1_000_000),
        "logprobs": (0, 20),
    }
    MAX_STOP_STRINGS: ClassVar[int] = 16
    MAX_STOP_CHARS: ClassVar[int] = 256
    MAX_LOGIT_BIAS: ClassVar[int] = 1024
    MAX_STOP_TOKENS: ClassVar[int] = 256
    MAX_ALLOWED_TOKENS: ClassVar[int] = 10_000
    MAX_BAD_WORDS: ClassVar[int] = 256
    MAX_BAD_WORD_CHARS: ClassVar[int] = 256

    def __post_init__(self) -> None:
        for name, (low, high) in self.RANGES.items():
            value = getattr(self, name)
            if value is None and name in ("seed", "logprobs"):
                continue
            whole = isinstance(low, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise InvalidField(name, f"{name} must be {kind} from {low} to {high}.")
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidField(name, f"{name} must lie between {low} and {high}.")
        if self.top_p == 0:
            raise InvalidField("top_p", "top_p must be greater than 0 and at most 1.")
        if self.min_tokens > self.max_tokens:
            raise InvalidField("min_tokens", "min_tokens must not exceed max_tokens.")
        if len(self.stop) > self.MAX_STOP_STRINGS:
            raise InvalidField("stop", f"stop takes at most {self.MAX_STOP_STRINGS} strings.")
        for text in self.stop:
            if not isinstance(text, str) or not 0 < len(text) <= self.MAX_STOP_CHARS:
                raise InvalidField(
                    "stop", f"each stop string must have 1 to {self.MAX_STOP_CHARS} characters."
                )
        if len(self.logit_bias) > self.MAX_LOGIT_BIAS:
            raise InvalidField(
                "logit_bias", f"logit_bias takes at most {self.MAX_LOGIT_BIAS} tokens."
            )
        for token, bias in self.logit_bias:
            if not isinstance(token, int) or token < 0 or not -100 <= bias <= 100:
                raise InvalidField(
                    "logit_bias", "logit_bias maps token ids to numbers from -100 to 100."
                )
        _check_ids("stop_token_ids", self.stop_token_ids, self.MAX_STOP_TOKENS)
        if self.allowed_token_ids is not None:
            _check_ids("allowed_token_ids", self.allowed_token_ids, self.MAX_ALLOWED_TOKENS)
            if not self.allowed_token_ids:
                raise InvalidField("allowed_token_ids", "allowed_token_ids must not be empty.")
        if len(self.bad_token_ids) > 2 * self.MAX_BAD_WORDS:  # each with and without a space before
            raise InvalidField("bad_words", f"bad_words takes at most {self.MAX_BAD_WORDS} words.")
        for word in self.bad_token_ids:
            if not word:
                raise InvalidField("bad_words", "each of bad_words must have a token.")
            _check_ids("bad_words", word, 4 * self.MAX_BAD_WORD_CHARS)


def _check_ids(name: str, ids: tuple[int, ...], most: int) -> None:
    if len(ids) > most:
        raise InvalidField(name, f"{name} takes at most {most} token ids.")
    if any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in ids):
        raise InvalidField(name, f"{name} takes token ids, whole numbers from 0 on.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One answer to make. The prompt is already tokens: text/ has rendered, counted and trimmed it.

    `continue_from` are tokens the answer already has (after a crash, a length stop, a branch); the
    engine goes on behind them as if it had sampled them itself.
    """

    request_id: str
    model: str
    prompt_token_ids: tuple[int, ...]
    sampling: SamplingParams
    received: Stamp
    attempt: int = 1
    continue_from: tuple[int, ...] = ()
    priority: int = PRIORITY_PERSON
    source: Source = "chat"
    submitted: Stamp | None = None
    expires_s: float = 600.0  # waiting longer than this ends the request as failed: "expired"
    echo_logprobs: int | None = None  # top n log-probabilities of the prompt's own tokens
    response_schema: str | None = None  # JSON schema the answer must follow; "{}" is any object
    response_regex: str | None = None  # or a regular expression that it must match as a whole
    response_grammar: str | None = None  # or a grammar, in Lark's notation or in GBNF
    cache_salt: str = ""  # keys and values are shared only with requests of the same salt

    @property
    def constraint(self) -> tuple[GrammarKind, str] | None:
        """What the answer must follow, if it isn't free."""
        if self.response_schema is not None:
            return "schema", self.response_schema
        if self.response_regex is not None:
            return "regex", self.response_regex
        return None if self.response_grammar is None else ("grammar", self.response_grammar)

    def next_attempt(self, *, continue_from: tuple[int, ...]) -> GenerationRequest:
        return dataclasses.replace(self, attempt=self.attempt + 1, continue_from=continue_from)


# --- events: engine -> worker -> Redis Stream -> readers ------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probabilities at one position, natural logarithm, after temperature is NOT applied.

    `chosen` is that of the sampled token under the model's raw distribution, `sampled` under the
    distribution it was drawn from; `top` the n likeliest raw ones as (token id, logprob).
    """

    chosen: float
    sampled: float
    top: tuple[tuple[int, float], ...] = ()


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
    phase: Literal["loading", "prefill"]
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
    error_code: str = ""
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
    tpot_floor_us: float | None = None  # what the hardware allows at batch 1 (measures.md)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """What a worker says of itself once a second. Sizes in bytes, times in wall µs."""

    worker: str
    host: str
    pid: int
    started_us: int
    seen_us: int
    model: str | None
    state: Literal["empty", "loading", "warming", "ready", "failed"]
    state_detail: str = ""  # "62 %", or why it failed
    device: str = ""
    dtype: str = ""
    path: str = ""  # which kernels serve: "native avx512 int4", "onednn", "cuda graphs"
    threads: int = 0
    running: int = 0
    waiting: int = 0
    kv_blocks_used: int = 0
    kv_blocks_total: int = 0
    kv_block_tokens: int = 0
    tokens_per_s: float = 0.0
    memory_used: int = 0
    memory_total: int = 0
    bandwidth_bytes_s: float = 0.0
    flops_s: float = 0.0
    model_info: dict[str, Any] = field(
        default_factory=dict
    )  # models.describe(): parts, bytes, layers


# --- wire form -----------------------------------------------------------------------------------

T = TypeVar("T")


def to_wire(value: Any) -> str:
    """JSON text of a contract dataclass."""
    return json.dumps(dataclasses.asdict(value), separators=(",", ":"), ensure_ascii=True)


def from_wire(kind: type[T], text: str | bytes) -> T:
    """The dataclass of that JSON text. Raises ValueError when it doesn't fit."""
    try:
        return typing.cast(T, _build(kind, json.loads(text)))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: Any, data: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)  # type: ignore[arg-type]
        known = {f.name for f in dataclasses.fields(kind)}
        return kind(**{k: _build(hints[k], v) for k, v in data.items() if k in known})  # type: ignore[operator]
    origin = typing.get_origin(kind)
    if origin is tuple:
        args = typing.get_args(kind)
        if len(args) == 2 and args[1] is Ellipsis:
            if args[0] in (int, float, str):  # the long ones: token ids and times
                return tuple(data)
            return tuple(_build(args[0], item) for item in data)
        return tuple(_build(arg, item) for arg, item in zip(args, data, strict=True))
    if origin in (typing.Union, types.UnionType):
        if data is None:
            return None
        return _build(next(a for a in typing.get_args(kind) if a is not type(None)), data)
    return data
