"""One choice of a reply: folds its request's events into pieces that can be sent."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatsite.api.error_responses import ApiError, of_result
from chatsite.api.schemas.replies import AnsweredReason, ChoiceTimings, StopReason
from chatsite.api.serving.reasoning import Split
from chatsite.generation.figures import figures_of
from chatsite.generation.transcript import Transcript
from inference import client
from inference.contract import (
    Delta,
    Event,
    FinishReason,
    GenerationRequest,
    Result,
    TokenLogprobs,
    is_end_token,
)


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """One token of an answer; all that a reply says about it is taken from here.

    `start` is where its text begins in the answer's whole text, in code points, before anything is
    held back or separated into reasoning and content.
    """

    id: int
    start: int
    logprobs: TokenLogprobs | None


@dataclass(slots=True)
class Piece:
    """What became visible at once: text, and the tokens whose text has begun to be shown.

    `hidden` are tokens behind them that show nothing: the end token, those of a stop string.
    """

    content: str = ""
    reasoning: str = ""
    tokens: list[AnswerToken] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    finish_reason: AnsweredReason | None = None
    stop_reason: StopReason = None

    @property
    def token_ids(self) -> list[int]:
        return [token.id for token in self.tokens] + self.hidden


class Choice:
    """One answer of a reply. `index` is its place there, `prompt_index` which prompt it answers.

    `split` separates reasoning from the answer, `form_param` names the parameter that asked for
    structured output.
    """

    def __init__(
        self,
        *,
        index: int,
        prompt_index: int,
        request: GenerationRequest,
        text: client.TextModel,
        split: Split | None = None,
        hides_reasoning: bool = False,
        shows_stop: bool = False,
        is_echo_only: bool = False,
        form_param: str | None = None,
    ) -> None:
        self.index = index
        self.prompt_index = prompt_index
        self.request = request
        self.submitted = request.received  # until it is
        self.text = text
        self.transcript = Transcript()
        self.whole = Piece()
        self.reasoning_tokens = 0
        self._is_echo_only = is_echo_only
        self._shows_stop = shows_stop
        self._form_param = form_param
        sampling = request.sampling
        self._reader = text.span_reader(
            skip_special_tokens=sampling.skip_special_tokens,
            keeps_first_space=sampling.keeps_first_space,
        )
        self._waiting: deque[AnswerToken] = deque()  # tokens of whose text nothing is shown yet
        self._end_text = ""  # of the token that ended the answer
        self._split = split
        self._place = copy.copy(split)  # goes by tokens: what is held back doesn't delay it
        self._hides_reasoning = hides_reasoning

    @property
    def result(self) -> Result | None:
        return self.transcript.result

    def take(self, event: Event) -> Piece | None:
        """What the event makes visible, if anything. Raises ApiError when the request failed."""
        known_tokens, known_chars = len(self.transcript.token_ids), len(self.transcript.text)
        self.transcript.fold([event])
        is_end = isinstance(event, Result)
        if isinstance(event, Delta):
            new = self.transcript.token_ids[known_tokens:]  # none when a later attempt repeats
            self._record(new, event.logprobs)
        elif not is_end:
            return None
        piece = Piece()
        text = self.transcript.text[known_chars:]
        if is_end:
            self._finish(piece)
            text += self._shown_stop(piece)
        piece.content = text
        if self._split is not None:
            piece.reasoning, piece.content = self._split.feed(text, is_end=is_end)
        if self._hides_reasoning:
            piece.reasoning = ""
        if is_end:
            self._give_last_tokens(piece)
        elif piece.content or piece.reasoning:
            self._give_tokens(piece, until=len(self.transcript.text))
        else:
            return None
        if self._is_echo_only:
            piece = Piece(finish_reason=piece.finish_reason)
        self._add(piece)
        return piece

    def _record(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> None:
        """Make the records of new tokens; `logprobs` has one for each, or none at all."""
        for place, token_id in enumerate(token_ids):
            if self._place is not None:
                self.reasoning_tokens += self._place.is_inside
            is_end = self._is_end(token_id)
            if is_end:
                self._reader.finish()  # no text goes on in the token that ends it
            span = self._reader.feed(token_id)
            if is_end:
                self._end_text = span.text + self._reader.finish()
            elif self._place is not None:
                self._place.feed(span.text)
            each = logprobs[place] if logprobs else None
            self._waiting.append(AnswerToken(token_id, span.start, each))

    def _finish(self, piece: Piece) -> None:
        """Say how the answer ended."""
        result = self.transcript.result
        assert result is not None
        if result.finish_reason not in (FinishReason.STOP, FinishReason.LENGTH):
            raise self._failure(result)
        has_stopped = result.finish_reason is FinishReason.STOP
        piece.finish_reason = "stop" if has_stopped and not self._is_echo_only else "length"
        if result.stop_string is not None:
            piece.stop_reason = result.stop_string
        elif (end := self._end_token()) is not None and (
            end.id in self.request.sampling.stop_token_ids
        ):
            piece.stop_reason = end.id

    def _shown_stop(self, piece: Piece) -> str:
        """The stop string or end token as text, if the caller wants to see it."""
        if not self._shows_stop:
            return ""
        if isinstance(piece.stop_reason, str):
            return piece.stop_reason
        return "" if self._end_token() is None else self._end_text

    def _end_token(self) -> AnswerToken | None:
        """The token that ended the answer, if one did."""
        result = self.transcript.result
        if result is None or result.stop_string is not None or not self._waiting:
            return None
        last = self._waiting[-1]
        has_stopped = result.finish_reason is FinishReason.STOP
        return last if has_stopped and self._is_end(last.id) else None

    def _give_tokens(self, piece: Piece, *, until: int) -> None:
        """Hand over the tokens that begin before this place of the text."""
        while self._waiting and self._waiting[0].start < until:
            piece.tokens.append(self._waiting.popleft())

    def _give_last_tokens(self, piece: Piece) -> None:
        """Hand over all that is left: those that show something, then the others."""
        result, end = self.transcript.result, self._end_token()
        stop = "" if result is None or result.stop_string is None else result.stop_string
        if stop:
            shown = len(stop) if self._shows_stop else 0
            self._give_tokens(piece, until=len(self.transcript.text) + shown)
            piece.hidden = [token.id for token in self._waiting]
        else:
            if end is not None and not (self._shows_stop and self._end_text):
                self._waiting.pop()
                piece.hidden = [end.id]
            piece.tokens += self._waiting
        self._waiting.clear()

    def _is_end(self, token_id: int) -> bool:
        return is_end_token(token_id, self.request.sampling, self.text.eos_token_ids)

    def _failure(self, result: Result) -> ApiError:
        text = result.error_text
        if result.finish_reason is FinishReason.CANCELLED:
            text = text or "The request was stopped before its answer was complete."
        return of_result(
            result.error_code, text, reason=result.finish_reason, form_param=self._form_param
        )

    def _add(self, piece: Piece) -> None:
        self.whole.content += piece.content
        self.whole.reasoning += piece.reasoning
        self.whole.tokens += piece.tokens
        self.whole.hidden += piece.hidden
        self.whole.finish_reason = piece.finish_reason
        self.whole.stop_reason = piece.stop_reason

    @property
    def completion_tokens(self) -> int:
        return 0 if self._is_echo_only else len(self.transcript.token_ids)

    @property
    def cached_tokens(self) -> int:
        return self.result.cached_tokens if self.result else 0

    def timings(self) -> ChoiceTimings:
        """This site's own figures, by the arithmetic of the records (docs/measures.md)."""
        figures = figures_of(self.request.received, self.transcript.timelines)

        def ms(value: float | None) -> float | None:
            return None if value is None else round(value / 1000, 3)

        return {
            "request_id": self.request.request_id,
            "queue_ms": ms(figures.queue_us),
            "prefill_ms": ms(figures.prefill_us),
            "ttft_ms": ms(figures.ttft_us),
            "decode_ms": ms(figures.decode_us),
            "tpot_ms": ms(figures.tpot_us),
        }
