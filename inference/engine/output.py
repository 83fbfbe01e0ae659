"""Turns what the core did into what people see: text, stop strings, and one Result per request.

Works through records, in the order in which the core made them, and may lag behind it: the engine
does this in a thread of its own while the next step runs. Knows detokenisers and stamps. Doesn't
know schedules, pages or logits.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from inference.contract import (
    Delta,
    ErrorCode,
    Event,
    FinishReason,
    GenerationRequest,
    Progress,
    Result,
    SamplingParams,
    Stamp,
    TokenLogprobs,
)
from inference.engine.active_request import ActiveRequest, Detokenizer
from inference.engine.device import DeviceSpeed

log = logging.getLogger(__name__)

MakeDetokenizer = Callable[[SamplingParams], Detokenizer]
"""By stop strings, the number of tokens before which they don't count, and what text shows."""


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

    def is_end(self, token_id: int, sampling: SamplingParams) -> bool:
        """Whether an answer ends with this token, which then gives no text."""
        if token_id in sampling.stop_token_ids:
            return True
        return token_id in self.eos_token_ids and not sampling.ignore_eos


class Opened(NamedTuple):
    """A request was taken in."""

    active: ActiveRequest


class Given(NamedTuple):
    """A step of `width` requests gave this one a token."""

    active: ActiveRequest
    token_id: int
    mono_ns: int
    width: int
    logprobs: TokenLogprobs | None = None


class Ended(NamedTuple):
    """The core is done with a request."""

    active: ActiveRequest
    reason: FinishReason
    error_code: ErrorCode | None = None
    error_text: str = ""


Record = Opened | Given | Ended | Progress | Result
"""What the core hands over. Progress and the Results of refused requests are told as they are."""


class Answers:
    """The answers of one loaded model. All calls come from one thread.

    `over` holds the requests that ended by their text, at a stop string: the core drops them. It
    may have sampled a few tokens more by then; those are never told.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self.over: collections.deque[ActiveRequest] = collections.deque()

    def tell(self, records: Iterable[Record]) -> list[Event]:
        """The events that these records come to. One answer's error ends that answer alone."""
        events: list[Event] = []
        for record in records:
            if isinstance(record, Progress | Result):
                events.append(record)
                continue
            active = record.active
            if active.told.is_over:
                continue
            try:
                if isinstance(record, Given):
                    events.append(self._take(record))
                elif isinstance(record, Opened):
                    self._open(active)
                else:
                    events.append(self._close(record))
                    continue
                if active.told.stop_string is not None:
                    events.append(self._end(active, FinishReason.STOP))
            except Exception:
                log.exception("the text of an answer could not be made")
                active.told.detokenizer = None
                problem = (ErrorCode.ENGINE_ERROR, "The answer's text could not be made.")
                events.append(self._end(active, FinishReason.FAILED, *problem))
        return events

    def _open(self, active: ActiveRequest) -> None:
        """Give the request its detokeniser and bring it to where `continue_from` ends."""
        told, request = active.told, active.request
        told.num_tokens = len(request.continue_from)
        if self._served.make_detokenizer is not None:
            told.detokenizer = self._served.make_detokenizer(request.sampling)
            for token in request.continue_from:
                told.text_offset += len(told.detokenizer.feed(token))
            told.stop_string = told.detokenizer.stopped

    def _take(self, record: Given) -> Delta:
        """Add a token to its answer. The end token is counted and sent, but gives no text."""
        active, token = record.active, record.token_id
        told, request = active.told, active.request
        if told.token_mono_ns:
            told.batch_sum += record.width
        else:
            told.first_token = Stamp.now().at_mono(record.mono_ns)
        told.token_mono_ns.append(record.mono_ns)
        text, offset, position = "", told.text_offset, told.num_tokens
        told.num_tokens += 1
        is_end = self._served.is_end(token, request.sampling)
        if told.detokenizer is not None and not is_end:
            text = told.detokenizer.feed(token)
            told.text_offset += len(text)
            told.stop_string = told.detokenizer.stopped
        return Delta(
            request_id=active.id,
            attempt=request.attempt,
            position=position,
            token_ids=(token,),
            text=text,
            text_offset=offset,
            mono_ns=record.mono_ns,
            logprobs=() if record.logprobs is None else (record.logprobs,),
        )

    def _end(
        self,
        active: ActiveRequest,
        reason: FinishReason,
        error_code: ErrorCode | None = None,
        text: str = "",
    ) -> Result:
        """End an answer that the core still works on."""
        self.over.append(active)
        return self._close(Ended(active, reason, error_code, text))

    def _close(self, record: Ended) -> Result:
        """The Result of a request that the engine had taken in."""
        active, told, served = record.active, record.active.told, self._served
        told.is_over = True
        tail, offset = "", told.text_offset
        if told.detokenizer is not None and told.stop_string is None:
            tail = told.detokenizer.finish()
            told.text_offset += len(tail)
            told.stop_string = told.detokenizer.stopped
        times, first = tuple(told.token_mono_ns), told.first_token
        return Result(
            request_id=active.id,
            attempt=active.request.attempt,
            finish_reason=record.reason,
            error_code=record.error_code,
            error_text=record.error_text,
            stop_string=told.stop_string,
            text_tail=tail,
            text_offset=offset,
            prompt_tokens=active.num_prompt,
            cached_tokens=active.num_cached_tokens,
            completion_tokens=told.num_tokens,
            continued_tokens=len(active.request.continue_from),
            started=active.started,
            admitted=active.admitted,
            first_token=first,
            last_token=first.at_mono(times[-1]) if first else None,
            token_mono_ns=times,
            batch_mean=told.batch_sum / (len(times) - 1) if len(times) > 1 else None,
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
    reason: FinishReason = FinishReason.FAILED,
    *,
    error_code: ErrorCode,
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
    told = active.told
    if not served.speed.bandwidth_bytes_s or not told.token_mono_ns:
        return None
    mean_context = active.num_prompt + told.num_tokens - len(told.token_mono_ns) / 2
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
