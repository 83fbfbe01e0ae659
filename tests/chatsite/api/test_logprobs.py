"""How log-probabilities are shown to programs."""

from __future__ import annotations

import math

from chatsite.api.serving.logprobs import LEAST, finite
from inference.contract import TokenLogprobs


def test_a_token_that_can_not_come_has_the_least_log_probability_of_openai() -> None:
    """The engine's minus infinity is a finite floor on the wire."""
    banned = TokenLogprobs(-math.inf, 0.0, ((7, -math.inf),))
    assert finite(banned.chosen) == finite(banned.top[0][1]) == LEAST
    assert finite(-12_000.5) == -12_000.5, "a token that is only unlikely keeps its own"
