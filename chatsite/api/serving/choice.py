"""One choice of a reply: folds its request's events into pieces that can be sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatsite.api.http.error_responses import ApiError, of_result
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
class ShownToken:
    id: int
    logprobs: TokenLogprobs | None


@dataclass(slots=True)
class Piece:
    """What became visible at once: text, and the tokens that made it.

    `hidden` are tokens behind them that gave no text: the end token, those of a stop string.
    """

    content: str = ""
    reasoning: str = ""
    tokens: list[ShownToken] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    finish_reason: AnsweredReason | None = None
    stop_reason: StopReason = None

    @property
    def token_ids(self) -> list[int]:
        return [token.id for token in self.tokens] + self.hidden


class Choice:
    """`index` is its place in the reply, `prompt_index` which prompt it answers.

    `split` parts reasoning from the answer, `form_param` names what asked for the answer's form.
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
        self._held: list[ShownToken] = []  # tokens whose text isn't complete
        self._split = split
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
            logprobs = event.logprobs or (None,) * len(new)
            self._held += map(ShownToken, new, logprobs)
            if self._split is not None and self._split.is_inside:
                self.reasoning_tokens += len(new)
        elif not is_end:
            return None
        text = self.transcript.text[known_chars:]
        piece = Piece(content=text)
        if self._split is not None:
            piece.reasoning, piece.content = self._split.feed(text, is_end=is_end)
        if self._hides_reasoning:
            piece.reasoning = ""
        if is_end:
            self._finish(piece)
        elif not (piece.content or piece.reasoning):
            return None
        piece.tokens, self._held = self._held, []
        if self._is_echo_only:
            piece = Piece(finish_reason=piece.finish_reason)
        self._add(piece)
        return piece

    def _finish(self, piece: Piece) -> None:
        result = self.transcript.result
        assert result is not None
        if result.finish_reason not in (FinishReason.STOP, FinishReason.LENGTH):
            raise self._failure(result)
        has_stopped = result.finish_reason is FinishReason.STOP
        piece.finish_reason = "stop" if has_stopped and not self._is_echo_only else "length"
        if result.stop_string is not None:
            piece.stop_reason = result.stop_string
            piece.hidden = [token.id for token in self._held]
            self._held = []
            if self._shows_stop:
                piece.content += result.stop_string
        elif (
            self._held
            and has_stopped
            and is_end_token(self._held[-1].id, self.request.sampling, self.text.eos_token_ids)
        ):
            last = self._held.pop().id
            piece.hidden = [last]
            if last in self.request.sampling.stop_token_ids:
                piece.stop_reason = last
            if self._shows_stop:
                piece.content += self._spelled(last)

    def _spelled(self, token_id: int) -> str:
        pieces = self.text.vocabulary.pieces
        skips = self.request.sampling.skip_special_tokens
        raw = pieces[token_id] if skips else pieces.spelled(token_id)
        return raw.decode("utf-8", "replace")

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
