"""What is made of a step's logits: the next tokens, and log-probabilities of prompt tokens.

Knows which rows belong to which scheduled item. The sampler works on the rows; the core gives the
results to the requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.contract import TokenLogprobs
from inference.engine.active_request import ActiveRequest
from inference.engine.device import to_device
from inference.engine.sampling.sampler import Sampled, Sampler
from inference.engine.scheduling.scheduler import Scheduled


def num_logits(item: Scheduled) -> int:
    """How many of its tokens need logits: all to echo a prompt, else the last if it samples."""
    if item.request.wants_echo:
        return item.num_tokens
    return 1 if item.samples else 0


def sample_tokens(
    sampler: Sampler, scheduled: Sequence[Scheduled], logits: Tensor
) -> Sampled | None:
    """Sample the next token of each scheduled item that needs one, in order; None if none does.

    logits (L, V): the items' rows one after the other, `num_logits` of each; changed in place.
    """
    rows, due, at = [], [], 0
    for item in scheduled:
        at += num_logits(item)
        if item.samples:
            rows.append(at - 1)
            due.append(item.request)
    if not due:
        return None
    if len(rows) != len(logits):
        logits = logits[to_device(rows, torch.int64, logits.device)]
    return sampler.sample(logits, due, width=len(scheduled))


def echo_logprobs(
    sampler: Sampler, scheduled: Sequence[Scheduled], logits: Tensor
) -> dict[ActiveRequest, list[TokenLogprobs]]:
    """Log-probabilities of prompt tokens, each under what came before it.

    They are those of tokens 1 to n - 1: nothing came before the first.
    """
    found, at = {}, 0
    for item in scheduled:
        request = item.request.request
        if item.request.wants_echo and request.echo_logprobs is not None:
            begin = item.request.num_computed + 1
            following = request.prompt_token_ids[begin : begin + item.num_tokens]
            if following:
                top = [request.echo_logprobs] * len(following)
                rows = logits[at : at + len(following)]
                found[item.request] = sampler.logprobs(rows, following, top)
        at += num_logits(item)
    return found
