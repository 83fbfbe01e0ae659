"""How many prompt tokens may be computed between two tokens of answers that are being decoded.

Learns from the steps themselves how long a decode step of a given width takes and what a prompt
token adds to it, inside the step or between two of them. Pure arithmetic: no torch, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SMOOTHING = 0.25
"""Weight of the newest measurement."""
RELEARN_AFTER = 64
"""Steps with prefill after which one without is run, to measure decoding alone again."""
MIN_CHUNK = 16
"""Prompt tokens a step takes at least; fewer would cost more in steps than they spare in gaps."""
MIN_INTERLEAVED_TOKENS = 32
"""Tokens of an interleaved chunk at least: enough to use the cores well, few per layer."""


@dataclass(frozen=True, slots=True)
class PrefillBudget:
    """Prompt tokens that may be computed before the next step of the decodes."""

    piggybacked: int  # in the decodes' step, of any prompts: they stretch it within max_gap_ratio
    blocking: int = 0  # in the decodes' step, of short prompts: they may hold it up for a moment
    interleaved: int = 0  # of a long prompt's next chunk, between steps; 0: long ones piggyback too


@dataclass(slots=True)
class PrefillPacer:
    """Bounds the prefill of a step. Times in seconds.

    While others decode, a step with prefill takes at most `max_gap_ratio` times one without. When
    more requests wait for their first token than for their next, the bound grows by that ratio:
    a burst of arrivals is not held up for the sake of a few answers that are under way. Short
    prompts may add `max_pause_s` to a step: a reader doesn't notice a tenth of a second between two
    tokens, but does before the first. Where a step can be cut between its `num_layers` layers, the
    bound holds for a step and the layers of a long prompt's chunk that run before the next.
    """

    max_gap_ratio: float
    max_pause_s: float
    step_tokens: int
    min_chunk: int = MIN_CHUNK  # more where a step with prefill costs much whatever its length
    num_layers: int = 0  # 0: steps can't be cut
    token_s: float = 0.0  # what one prompt token adds to a step
    interleaved_s: float = 0.0  # what one token takes in one layer between steps
    _decode_s: dict[int, float] = field(default_factory=dict)  # by width, in powers of two
    _since: int = 0  # steps with prefill since the last one without

    def budget(self, *, decoding: int, prefilling: int) -> PrefillBudget:
        """How many prompt tokens the next step may take; none when decoding is to be measured.

        `decoding` and `prefilling` are numbers of requests.
        """
        if decoding == 0:
            return PrefillBudget(self.step_tokens)
        if prefilling == 0:
            return PrefillBudget(0)
        alone_s = self._decode_s.get(decoding.bit_length())
        if alone_s is None or self._since >= RELEARN_AFTER:
            return PrefillBudget(0)
        interleaved = 0
        if self.num_layers:
            most = self._interleaved_token_layers(decoding, prefilling) // self.num_layers
            interleaved = min(self.step_tokens, max(MIN_INTERLEAVED_TOKENS, most))
        if self.token_s <= 0:
            return PrefillBudget(self.min_chunk, interleaved=interleaved)
        added_s = (self._ratio(decoding, prefilling) - 1) * alone_s
        return PrefillBudget(
            piggybacked=max(self.min_chunk, int(added_s / self.token_s)),
            blocking=int(self.max_pause_s / self.token_s),
            interleaved=interleaved,
        )

    def layers(self, tokens: int, *, decoding: int, prefilling: int) -> int:
        """How many layers of an interleaved chunk may run before the decodes' next step."""
        return max(1, self._interleaved_token_layers(decoding, prefilling) // tokens)

    def _interleaved_token_layers(self, decoding: int, prefilling: int) -> int:
        """Tokens times layers that fit between two steps; 0 before the first measurement."""
        if self.interleaved_s <= 0:
            return 0
        alone_s = self._decode_s.get(decoding.bit_length(), 0.0)
        return int((self._ratio(decoding, prefilling) - 1) * alone_s / self.interleaved_s)

    def _ratio(self, decoding: int, prefilling: int) -> float:
        return self.max_gap_ratio * max(1.0, prefilling / decoding)

    def observe(self, *, decoding: int, prefill_tokens: int, step_s: float) -> None:
        """Learn from a step that has run."""
        if prefill_tokens == 0:
            self._since = 0
            width = decoding.bit_length()
            self._decode_s[width] = _mix(self._decode_s.get(width), step_s)
            return
        self._since += 1
        alone_s = self._decode_s.get(decoding.bit_length(), 0.0) if decoding else 0.0
        added_s = (step_s - alone_s) / prefill_tokens
        if added_s > 0:
            self.token_s = _mix(self.token_s or None, added_s)

    def observe_interleaved(self, *, tokens: int, layers: int, spent_s: float) -> None:
        """Learn from some layers of a chunk that have run between steps."""
        self.interleaved_s = _mix(self.interleaved_s or None, spent_s / (tokens * layers))


def _mix(old: float | None, new: float) -> float:
    return new if old is None else old + SMOOTHING * (new - old)
