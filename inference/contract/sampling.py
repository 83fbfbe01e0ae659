"""How the next token is chosen: every sampling parameter with its range."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar


class InvalidField(ValueError):
    """A value outside its range. `field` names it, `str(error)` says the range in a sentence."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


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
    seed: int | None = None  # None: none is given; with_seed() draws one
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

    def with_seed(self) -> SamplingParams:
        """The same with a seed drawn where none is given. Call where a request is built.

        A request keeps its seed, so that a resumed answer is the answer that would have been.
        """
        return self if self.seed is not None else replace(self, seed=secrets.randbits(63))

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


def is_end_token(token_id: int, sampling: SamplingParams, eos_token_ids: Collection[int]) -> bool:
    """Whether an answer ends with this token, which then gives no text."""
    if token_id in sampling.stop_token_ids:
        return True
    return token_id in eos_token_ids and not sampling.ignore_eos


def _check_ids(name: str, ids: tuple[int, ...], most: int) -> None:
    if len(ids) > most:
        raise InvalidField(name, f"{name} takes at most {most} token ids.")
    if any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in ids):
        raise InvalidField(name, f"{name} takes token ids, whole numbers from 0 on.")
