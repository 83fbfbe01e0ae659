"""How many prompt tokens may be computed between two tokens of others, who must not wait for them.

Learns from the steps themselves what a decode step of a given width takes and what a prompt token
adds, as part of the step or beside it. Pure arithmetic: no torch, no clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SMOOTHING = 0.25
"""Weight of the newest measurement."""
RELEARN_AFTER = 64
"""Steps with prefill after which one without is run, to see what decoding alone takes by now."""
MIN_CHUNK = 16
"""Prompt tokens a step takes at least; fewer would cost more in steps than they spare in gaps."""
ASIDE_CHUNK = 32
"""Tokens of a chunk beside the steps at least: enough to use the cores well, few per layer."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Prompt tokens that a step may take."""

    riding: int  # of any prompts: hardly anybody notices them
    pausing: int = 0  # of short prompts, which are through in a moment
    aside: int = 0  # of a long prompt's next chunk beside the steps; 0: long ones ride, too


@dataclass(slots=True)
class Pace:
    """Bounds the prefill of a step. Times in seconds.

    While others decode, a step with prefill takes at most `max_gap_ratio` times one without. When
    more requests wait for their first token than for their next, the bound grows by that ratio:
    a burst of arrivals is not held up for the sake of a few who are already being served. Short
    prompts may add `max_pause_s` to a step: nobody who reads sees a tenth of a second, and who
    waits for a first token does. Where a step can be cut between its `num_layers` layers, the bound
    holds for a step and the layers of a long prompt's chunk that run before the next.
    """

    max_gap_ratio: float
    max_pause_s: float
    step_tokens: int
    num_layers: int = 0  # 0: steps can't be cut
    token_s: float = 0.0  # what one prompt token adds to a step
    aside_s: float = 0.0  # what one token takes in one layer beside the steps
    _decode_s: dict[int, float] = field(default_factory=dict)  # by width, in powers of two
    _since: int = 0  # steps with prefill since the last one without

    def allowance(self, *, decoding: int, prefilling: int) -> Allowance:
        """How many prompt tokens the next step may take; none when it shall be measured without."""
        if decoding == 0:
            return Allowance(self.step_tokens)
        if prefilling == 0:
            return Allowance(0)
        alone_s = self._decode_s.get(decoding.bit_length())
        if alone_s is None or self._since >= RELEARN_AFTER:
            return Allowance(0)
        aside = 0
        if self.num_layers:
            most = self._aside_token_layers(decoding, prefilling) // self.num_layers
            aside = min(self.step_tokens, max(ASIDE_CHUNK, most))
        if self.token_s <= 0:
            return Allowance(MIN_CHUNK, aside=aside)
        added_s = (self._ratio(decoding, prefilling) - 1) * alone_s
        return Allowance(
            riding=max(MIN_CHUNK, int(added_s / self.token_s)),
            pausing=int(self.max_pause_s / self.token_s),
            aside=aside,
        )

    def layers(self, tokens: int, *, decoding: int, prefilling: int) -> int:
        """How many layers of a chunk may run between this step of the decodes and the next."""
        return max(1, self._aside_token_layers(decoding, prefilling) // tokens)

    def _aside_token_layers(self, decoding: int, prefilling: int) -> int:
        if self.aside_s <= 0:
            return 0
        alone_s = self._decode_s.get(decoding.bit_length(), 0.0)
        return int((self._ratio(decoding, prefilling) - 1) * alone_s / self.aside_s)

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

    def observe_aside(self, *, tokens: int, layers: int, spent_s: float) -> None:
        """Learn from some layers of a chunk that have run beside the steps."""
        self.aside_s = _mix(self.aside_s or None, spent_s / (tokens * layers))


def _mix(old: float | None, new: float) -> float:
    return new if old is None else old + SMOOTHING * (new - old)
