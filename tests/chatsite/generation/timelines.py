"""Any timeline that a request can have, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from chatsite.generation.figures import AttemptTimeline
from inference.contract import Stamp

BOOT = "one-boot"
RECEIVED = Stamp(wall_us=1_800_000_000_000_000, mono_ns=5_000_000_123, boot=BOOT)
gaps_ns = st.integers(min_value=0, max_value=10**10)


def after(ns: int) -> Stamp:
    return RECEIVED.at_mono(RECEIVED.mono_ns + ns)


@st.composite
def timelines(draw: st.DrawFn) -> list[AttemptTimeline]:
    attempts, now = [], 0
    for number in range(1, draw(st.integers(1, 3)) + 1):
        now += draw(gaps_ns)
        started = after(now)
        now += draw(gaps_ns)
        admitted = after(now)
        tokens = []
        for _ in range(draw(st.integers(0, 6))):
            now += draw(gaps_ns)
            tokens.append(after(now))
        attempts.append(AttemptTimeline(number, "w", started, admitted, tokens))
    return attempts
