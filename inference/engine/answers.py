"""Turns sampled tokens into what people see: text, stops, and the one Result of each request.

Knows detokenisers, stop rules and stamps. Doesn't know schedules, pages or logits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.contract import Delta, FinishReason, GenerationRequest, Result, Stamp, TokenLogprobs
from inference.engine.measure import DeviceSpeed
from inference.engine.request import ActiveRequest, Detokenizer

MakeDetokenizer = Callable[[Sequence[str], int], Detokenizer]
"""From stop strings and the number of tokens before which they don't count."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is the same for all answers of one loaded model."""

    worker: str
    device: str
    dtype: str
    model_revision: str
    context_length: int
    eos_token_ids: frozenset[int]
    speed: DeviceSpeed
    weight_bytes: int
    body_parameters: int
    head_parameters: int
    kv_bytes_per_token: int
    attention_flops_per_pair: int
    make_detokenizer: MakeDetokenizer | None  # None: a model without a tokenizer; text stays empty


def open_answer(active: ActiveRequest, served: Served) -> None:
    """Give the request its detokeniser and bring it to where `continue_from` ends."""
    request = active.request
    if served.make_detokenizer is not None:
        sampling = request.sampling
        active.detokenizer = served.make_detokenizer(sampling.stop, sampling.min_tokens)
        for token in request.continue_from:
            active.text_offset += len(active.detokenizer.feed(token))


def ended_already(active: ActiveRequest, served: Served) -> FinishReason | None:
    """Why an answer is over whose last token was given: its worker was lost just behind it."""
    request, sampling = active.request, active.request.sampling
    if active.detokenizer is not None and active.detokenizer.stopped is not None:
        active.stop_string = active.detokenizer.stopped
        return "stop"
    ends = frozenset() if sampling.ignore_eos else served.eos_token_ids
    if request.continue_from and request.continue_from[-1] in ends:
        return "stop"
    return "length" if active.num_answer >= sampling.max_tokens else None


def take_token(
    active: ActiveRequest, token: int, logprobs: TokenLogprobs | None, served: Served
) -> tuple[Delta, FinishReason | None]:
    """Add a sampled token to the answer. Returns the Delta, and why the answer ends, if it does.

    The end token itself is counted and sent, but gives no text.
    """
    request, sampling = active.request, active.request.sampling
    now = time.monotonic_ns()
    position = active.num_answer
    active.append(token)
    active.token_mono_ns.append(now)
    if active.first_token is None:
        active.first_token = Stamp.now().at_mono(now)
    if active.grammar is not None:
        active.grammar.accept(token)
    reason: FinishReason | None = None
    text, offset = "", active.text_offset
    if token in served.eos_token_ids and not sampling.ignore_eos:
        reason = "stop"
    elif active.detokenizer is not None:
        text = active.detokenizer.feed(token)
        active.text_offset += len(text)
        if active.detokenizer.stopped is not None:
            active.stop_string = active.detokenizer.stopped
            reason = "stop"
    if reason is None and active.grammar is not None and active.grammar.is_finished:
        reason = "stop"
    if reason is None and (
        active.num_answer >= sampling.max_tokens or len(active.token_ids) >= served.context_length
    ):
        reason = "length"
    delta = Delta(
        request_id=active.id,
        attempt=request.attempt,
        position=position,
        token_ids=(token,),
        text=text,
        text_offset=offset,
        mono_ns=now,
        logprobs=() if logprobs is None else (logprobs,),
    )
    return delta, reason


def close_answer(
    active: ActiveRequest,
    served: Served,
    reason: FinishReason,
    *,
    error_code: str = "",
    error_text: str = "",
) -> Result:
    """The Result of a request that the engine had taken in."""
    tail, offset = "", active.text_offset
    if active.detokenizer is not None and active.stop_string is None:
        tail = active.detokenizer.finish()
        active.text_offset += len(tail)
        active.stop_string = active.detokenizer.stopped
    times = tuple(active.token_mono_ns)
    return Result(
        request_id=active.id,
        attempt=active.request.attempt,
        finish_reason=reason,
        error_code=error_code,
        error_text=error_text,
        stop_string=active.stop_string,
        text_tail=tail,
        text_offset=offset,
        prompt_tokens=active.num_prompt,
        cached_tokens=active.num_cached_tokens,
        completion_tokens=active.num_answer,
        continued_tokens=len(active.request.continue_from),
        started=active.started,
        admitted=active.admitted,
        first_token=active.first_token,
        last_token=active.first_token.at_mono(times[-1]) if active.first_token else None,
        token_mono_ns=times,
        batch_mean=active.batch_sum / active.decode_steps if active.decode_steps else None,
        worker=served.worker,
        device=served.device,
        model_revision=served.model_revision,
        dtype=served.dtype,
        tpot_floor_us=_tpot_floor_us(active, served),
        prefill_floor_us=_prefill_floor_us(active, served),
        seed=active.seed,
        echo=tuple(active.echo),
    )


def refuse(
    request: GenerationRequest,
    reason: FinishReason = "failed",
    *,
    error_code: str,
    error_text: str,
    worker: str,
) -> Result:
    """The Result of a request that never got in line."""
    return Result(
        request_id=request.request_id,
        attempt=request.attempt,
        finish_reason=reason,
        error_code=error_code,
        error_text=error_text,
        prompt_tokens=len(request.prompt_token_ids),
        completion_tokens=len(request.continue_from),
        continued_tokens=len(request.continue_from),
        started=Stamp.now(),
        worker=worker,
        seed=request.sampling.seed,
    )


def _tpot_floor_us(active: ActiveRequest, served: Served) -> float | None:
    """(weights + keys and values read) / bandwidth, at this answer's mean length, batch 1."""
    if not served.speed.bandwidth_bytes_s or not active.token_mono_ns:
        return None
    mean_context = len(active.token_ids) - len(active.token_mono_ns) / 2
    read = served.weight_bytes + mean_context * served.kv_bytes_per_token
    return read / served.speed.bandwidth_bytes_s * 1e6


def _prefill_floor_us(active: ActiveRequest, served: Served) -> float | None:
    """Products of the tokens that weren't cached, the head once, and attention, over FLOP/s."""
    if not served.speed.flops_s or active.admitted is None:
        return None
    total = active.num_prompt + len(active.request.continue_from)
    fresh = total - active.num_cached_tokens
    pairs = (total * (total + 1) - active.num_cached_tokens * (active.num_cached_tokens + 1)) / 2
    flops = 2.0 * served.body_parameters * fresh + 2.0 * served.head_parameters
    flops += pairs * served.attention_flops_per_pair
    return flops / served.speed.flops_s * 1e6
