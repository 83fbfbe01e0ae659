"""One choice of a reply: folds its request's events into pieces that can be sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatsite.api.errors import ApiError, of_result
from chatsite.api.reasoning import ReasoningSplit, begins_inside, thinks
from chatsite.api.schemas.replies import ChoiceTimings, FinishReason
from chatsite.chat.transcript import Transcript
from chatsite.metrics.figures import figures_of
from inference import client
from inference.contract import Delta, Event, GenerationRequest, Result, TokenLogprobs


@dataclass(frozen=True, slots=True)
class ShownToken:
    id: int
    logprobs: TokenLogprobs | None


@dataclass(slots=True)
class Piece:
    """What became visible at once: text, and the tokens that made it."""

    content: str = ""
    reasoning: str = ""
    tokens: list[ShownToken] = field(default_factory=list)
    finish_reason: FinishReason | None = None


class Choice:
    """`index` is its place in the reply, `prompt_index` which prompt it answers."""

    def __init__(
        self,
        *,
        index: int,
        prompt_index: int,
        request: GenerationRequest,
        text: client.TextModel,
        splits_reasoning: bool = False,
        shows_stop: bool = False,
        is_echo_only: bool = False,
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
        self._held: list[ShownToken] = []  # tokens whose text isn't complete
        self._split = None
        if splits_reasoning and thinks(text):
            inside = begins_inside(text, request.prompt_token_ids)
            self._split = ReasoningSplit(begins_inside=inside)

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
        if result.finish_reason not in ("stop", "length"):
            raise self._failure(result)
        piece.finish_reason = "length" if self._is_echo_only else result.finish_reason
        if result.stop_string is not None:
            self._held = []  # they are the stop string's
            if self._shows_stop:
                piece.content += result.stop_string
        elif self._held and result.finish_reason == "stop" and self._is_end_token(self._held[-1]):
            self._held.pop()

    def _is_end_token(self, token: ShownToken) -> bool:
        return token.id in self.text.eos_token_ids and not self.request.sampling.ignore_eos

    @staticmethod
    def _failure(result: Result) -> ApiError:
        code = result.error_code or result.finish_reason
        text = result.error_text
        if result.finish_reason == "cancelled":
            text = text or "The request was stopped before its answer was complete."
        return of_result(code, text)

    def _add(self, piece: Piece) -> None:
        self.whole.content += piece.content
        self.whole.reasoning += piece.reasoning
        self.whole.tokens += piece.tokens
        self.whole.finish_reason = piece.finish_reason

    @property
    def completion_tokens(self) -> int:
        return 0 if self._is_echo_only else len(self.transcript.token_ids)

    @property
    def cached_tokens(self) -> int:
        return self.result.cached_tokens if self.result else 0

    def timings(self) -> ChoiceTimings:
        """This site's own figures, by the arithmetic of the records (measures.md)."""
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
