"""How many prompt tokens may ride along with a step of decodes, so that nobody's next token waits.

Learns from the steps themselves what a decode step of a given width takes and what a prompt token
adds. Pure arithmetic: no torch, no clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SMOOTHING = 0.25
"""Weight of the newest measurement."""
RELEARN_AFTER = 64
"""Steps with prefill after which one without is run, to see what decoding alone takes by now."""
MIN_CHUNK = 16
"""Prompt tokens a step takes at least; fewer would cost more in steps than they spare in gaps."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Prompt tokens that a step may take."""

    riding: int  # of any prompts: hardly anybody notices them
    pausing: int = 0  # of short prompts, which are through in a moment


@dataclass(slots=True)
class Pace:
    """Bounds the prefill of a step. Times in seconds.

    While others decode, a step with prefill takes at most `max_gap_ratio` times one without. When
    more requests wait for their first token than for their next, the bound grows by that ratio:
    a burst of arrivals is not held up for the sake of a few who are already being served. Short
    prompts may add `max_pause_s` to a step: nobody who reads sees a tenth of a second, and who
    waits for a first token does.
    """

    max_gap_ratio: float
    max_pause_s: float
    step_tokens: int
    token_s: float = 0.0  # what one prompt token adds to a step
    layer_s: float = 0.0  # what one layer of a chunk beside the steps takes
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
        if self.token_s <= 0:
            return Allowance(MIN_CHUNK)
        added_s = (self._ratio(decoding, prefilling) - 1) * alone_s
        return Allowance(
            riding=max(MIN_CHUNK, int(added_s / self.token_s)),
            pausing=int(self.max_pause_s / self.token_s),
        )

    def layers(self, *, decoding: int, prefilling: int) -> int:
        """How many layers of a chunk may run between this step of the decodes and the next."""
        if self.layer_s <= 0:
            return 1
        alone_s = self._decode_s.get(decoding.bit_length(), 0.0)
        return max(1, int((self._ratio(decoding, prefilling) - 1) * alone_s / self.layer_s))

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

    def observe_slice(self, *, layers: int, slice_s: float) -> None:
        """Learn from some layers of a chunk that have run beside the steps."""
        self.layer_s = _mix(self.layer_s or None, slice_s / layers)


def _mix(old: float | None, new: float) -> float:
    return new if old is None else old + SMOOTHING * (new - old)
