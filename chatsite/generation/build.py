"""The one place that builds a GenerationRequest, for chat and API alike.

Prompts come here as tokens: rendering and fitting them is the caller's.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from uuid import UUID, uuid4

from inference.contract import (
    PRIORITY_CHAT,
    Constraint,
    GenerationRequest,
    SamplingParams,
    Source,
    Stamp,
)

SEED_BITS = 63


def build_request(
    *,
    model: str,
    prompt_token_ids: Sequence[int],
    sampling: SamplingParams,
    received: Stamp,
    source: Source,
    request_id: UUID | None = None,
    continue_from: Sequence[int] = (),
    choice: int = 0,
    priority: int = PRIORITY_CHAT,
    echo_logprobs: int | None = None,
    constraint: Constraint | None = None,
    wants_records: bool = False,
    cache_salt: str = "",
) -> GenerationRequest:
    """A request with its seed drawn, so that a resumed answer is the answer that would have been.

    `choice` numbers the answers to one prompt: a seed that was given is counted up by it.
    """
    return GenerationRequest(
        request_id=(request_id or uuid4()).hex,
        model=model,
        prompt_token_ids=tuple(prompt_token_ids),
        sampling=dataclasses.replace(sampling, seed=_seed(sampling.seed, choice)),
        received=received,
        continue_from=tuple(continue_from),
        priority=priority,
        source=source,
        echo_logprobs=echo_logprobs,
        constraint=constraint,
        wants_records=wants_records,
        cache_salt=cache_salt,
    )


def _seed(given: int | None, choice: int) -> int:
    if given is None:
        return secrets.randbits(SEED_BITS)
    return (given + choice + 2**63) % 2**64 - 2**63  # stays a signed number of 64 bits
