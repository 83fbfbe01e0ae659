"""What is kept of the moment in which one token was chosen, and its wire form.

The sampler makes one record a token for requests that want them; it travels in the token's Delta
as TOKEN_RECORD_BYTES bytes, which numpy reads with `dtype=TOKEN_RECORD`. With the request's
parameters the samplers' work can be replayed from it (docs/measures.md, One token). How it is
stored is chatsite.generation.token_trace's.
"""

from __future__ import annotations

from typing import Any

CANDIDATES = 20
NO_TOKEN = 2**32 - 1
"""The id of a candidate that isn't there: a vocabulary may have fewer than CANDIDATES tokens."""

TOKEN_RECORD: list[Any] = [
    # The model's own distribution, before any sampler.
    ("token", "<u4"),
    ("rank", "<u4"),  # of the chosen token; 1 is the likeliest
    ("best_logit", "<f4"),
    ("best_logprob", "<f4"),
    ("below_best", "<f4"),  # how far the chosen token's logit lies under the largest
    ("entropy", "<f4"),  # nats
    # After bias, bans and penalties.
    ("adjusted_best", "<f4"),  # the largest logit
    ("adjusted_log_total", "<f4"),  # log of the sum of e^logit
    # After temperature, top-k, top-p and min-p. Masses are shares of all tokens' mass.
    ("best_mass", "<f4"),  # the likeliest's, after temperature
    ("mass_k", "<f4"),  # of those that top-k left; 1 without
    ("kept_mass", "<f4"),  # of those that all samplers left
    ("kept", "<u4"),  # how many those are
    ("floor", "<f4"),  # how far the last kept logit lies under the largest; inf: none is cut
    # The draw.
    ("drawn_logprob", "<f4"),  # the chosen token's, under what it was drawn from
    ("below", "<f4"),  # share of the kept mass before the chosen token, likeliest first
    ("uniform", "<f8"),  # the number that decided
    ("width", "<u2"),  # requests that shared the step
    # The likeliest of the model's own distribution.
    ("candidates", "<u4", CANDIDATES),
    ("candidates_below_best", "<f4", CANDIDATES),
]
"""Names, formats and counts of the fields, as numpy.dtype takes them; packed, little-endian."""

TOKEN_RECORD_BYTES = 70 + 8 * CANDIDATES
