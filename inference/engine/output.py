"""Turns what the core did into what readers get: text, stop strings, and one Result per request.

The core writes records; `OutputProcessor` makes events of them in the same order. It may lag behind
the core (output_thread.py): a stop string is then found one step late, and the surplus token is
dropped here. Doesn't know schedules, pages or logits.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from inference.contract import (
    Delta,
    ErrorCode,
    Event,
    FinishReason,
    GenerationRequest,
    Progress,
    Result,
    Stamp,
    TokenLogprobs,
)
from inference.engine.active_request import ActiveRequest
from inference.engine.served_model import Detokenizer, ServedModelInfo

log = logging.getLogger(__name__)


class RequestAdded(NamedTuple):
    """A request was taken in."""

    active: ActiveRequest


class TokenSampled(NamedTuple):
    """A step of `width` requests gave this one a token."""

    active: ActiveRequest
    token_id: int
    mono_ns: int
    width: int
    logprobs: TokenLogprobs | None = None
    record: bytes = b""  # a TOKEN_RECORD


class RequestFinished(NamedTuple):
    """The core is done with a request."""

    active: ActiveRequest
    reason: FinishReason
    error_code: ErrorCode | None = None
    error_text: str = ""


Record = RequestAdded | TokenSampled | RequestFinished | Progress | Result
"""What the core hands over. Progress and the Results of refused requests are passed on as they are.
"""


@dataclass(slots=True)
class OutputState:
    """What has become events of one answer so far; it lags behind the tokens that were sampled."""

    detokenizer: Detokenizer | None = None
    num_tokens: int = 0  # continue_from included
    text_offset: int = 0
    stop_string: str | None = None
    token_mono_ns: list[int] = field(default_factory=list)
    first_token: Stamp | None = None
    batch_sum: int = 0  # of the steps that gave the second and later tokens


class OutputProcessor:
    """The answers of one loaded model. All calls come from one thread.

    `stopped_by_text` holds the requests that ended at a stop string, for the core to drop. It may
    have sampled a few tokens more by then; no event is made of those.
    """

    def __init__(self, served: ServedModelInfo) -> None:
        self._served = served
        self._states: dict[ActiveRequest, OutputState] = {}
        self.stopped_by_text: collections.deque[ActiveRequest] = collections.deque()

    def process(self, records: Iterable[Record]) -> list[Event]:
        """The events of these records. An error in one answer ends that answer alone."""
        events: list[Event] = []
        for record in records:
            if isinstance(record, Progress | Result):
                events.append(record)
                continue
            active = record.active
            if isinstance(record, RequestAdded):
                self._states[active] = OutputState()
            state = self._states.get(active)
            if state is None:  # its Result is out; this is surplus
                continue
            try:
                if isinstance(record, TokenSampled):
                    events.append(self._add_token(record, state))
                elif isinstance(record, RequestAdded):
                    self._open(active, state)
                else:
                    events.append(self._close(record, state))
                    continue
                if state.stop_string is not None:
                    events.append(self._stop(RequestFinished(active, FinishReason.STOP), state))
            except Exception:
                log.exception("the text of an answer could not be made")
                state.detokenizer = None
                failed = RequestFinished(
                    active,
                    FinishReason.FAILED,
                    ErrorCode.ENGINE_ERROR,
                    "The answer's text could not be made.",
                )
                events.append(self._stop(failed, state))
        return events

    def _open(self, active: ActiveRequest, state: OutputState) -> None:
        """Give the answer its detokeniser and bring it to where `continue_from` ends."""
        request = active.request
        state.num_tokens = len(request.continue_from)
        if self._served.make_detokenizer is not None:
            state.detokenizer = self._served.make_detokenizer(request.sampling)
            for token in request.continue_from:
                state.text_offset += len(state.detokenizer.feed(token))
            state.stop_string = state.detokenizer.stopped

    def _add_token(self, record: TokenSampled, state: OutputState) -> Delta:
        """Add a token to its answer. The end token is counted and sent, but gives no text."""
        active, token = record.active, record.token_id
        request = active.request
        if state.token_mono_ns:
            state.batch_sum += record.width
        else:
            state.first_token = Stamp.now().at_mono(record.mono_ns)
        state.token_mono_ns.append(record.mono_ns)
        text, offset, position = "", state.text_offset, state.num_tokens
        state.num_tokens += 1
        is_end = self._served.is_end(token, request.sampling)
        if state.detokenizer is not None and not is_end:
            text = state.detokenizer.feed(token)
            state.text_offset += len(text)
            state.stop_string = state.detokenizer.stopped
        return Delta(
            request_id=active.id,
            attempt=request.attempt,
            position=position,
            token_ids=(token,),
            text=text,
            text_offset=offset,
            mono_ns=record.mono_ns,
            logprobs=() if record.logprobs is None else (record.logprobs,),
            records=record.record,
        )

    def _stop(self, record: RequestFinished, state: OutputState) -> Result:
        """End an answer that the core still works on."""
        self.stopped_by_text.append(record.active)
        return self._close(record, state)

    def _close(self, record: RequestFinished, state: OutputState) -> Result:
        """The Result of a request that the engine had taken in."""
        active, served = record.active, self._served
        self._states.pop(active, None)
        tail, offset = "", state.text_offset
        if state.detokenizer is not None and state.stop_string is None:
            tail = state.detokenizer.finish()
            state.stop_string = state.detokenizer.stopped
        times, first = tuple(state.token_mono_ns), state.first_token
        continued = len(active.request.continue_from)
        mean_context = active.num_prompt + state.num_tokens - len(times) / 2
        return Result(
            request_id=active.id,
            attempt=active.request.attempt,
            finish_reason=record.reason,
            error_code=record.error_code,
            error_text=record.error_text,
            stop_string=state.stop_string,
            text_tail=tail,
            text_offset=offset,
            prompt_tokens=active.num_prompt,
            cached_tokens=active.num_cached_tokens,
            completion_tokens=state.num_tokens,
            continued_tokens=continued,
            started=active.started,
            admitted=active.admitted,
            first_token=first,
            last_token=first.at_mono(times[-1]) if first else None,
            token_mono_ns=times,
            batch_mean=state.batch_sum / (len(times) - 1) if len(times) > 1 else None,
            worker=served.worker,
            device=served.device,
            model_revision=served.model_revision,
            dtype=served.dtype,
            tpot_floor_us=served.tpot_floor_us(mean_context) if times else None,
            prefill_floor_us=None
            if active.admitted is None
            else served.prefill_floor_us(
                total=active.num_prompt + continued, cached=active.num_cached_tokens
            ),
            seed=active.seed,
            echo=tuple(active.echo),
        )


def refusal(
    request: GenerationRequest,
    reason: FinishReason = FinishReason.FAILED,
    *,
    error_code: ErrorCode,
    error_text: str,
    worker: str,
) -> Result:
    """The Result of a request that the engine did not take in."""
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
