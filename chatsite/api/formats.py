"""The two shapes of a reply, whole and in chunks: chat completions and completions."""

from __future__ import annotations

import time
from typing import Any, Protocol

from chatsite.api.choices import Choice, Piece, ShownToken
from chatsite.api.logprobs import chat_logprobs, completion_logprobs
from chatsite.api.runs import Run
from chatsite.api.schemas.chat import AnswerMessage, ChatBody, ChatChoice, Delta
from chatsite.api.schemas.common import GenerationBody
from chatsite.api.schemas.completions import CompletionBody, Logprobs


class Format(Protocol):
    """What a stream and a whole reply are written with."""

    waits_for_end: bool  # nothing can be shown before everything is known

    def opening(self, choice: Choice) -> dict[str, Any] | None: ...

    def chunk(self, choice: Choice, piece: Piece) -> dict[str, Any]: ...

    def ending(self) -> dict[str, Any]: ...

    def whole(self) -> dict[str, Any]: ...


class _Head:
    """What every chunk of a reply begins with."""

    def __init__(self, run: Run, body: GenerationBody, *, prefix: str) -> None:
        self.run = run
        self.shows_ids = bool(body.return_token_ids)
        self.head = {
            "id": prefix + run.id,
            "created": int(time.time()),
            "model": run.model.slug,
            "system_fingerprint": f"fp_{run.model.version}",
        }

    def _reply(self, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        return {**self.head, "object": kind, "choices": choices, **more}

    def _with_ids(self, choice: Any, tokens: list[ShownToken]) -> Any:
        if self.shows_ids:
            choice["token_ids"] = [token.id for token in tokens]
        return choice


class ChatFormat(_Head):
    waits_for_end = False

    def __init__(self, run: Run, body: ChatBody) -> None:
        super().__init__(run, body, prefix="chatcmpl-")
        self.wants_logprobs = bool(body.logprobs)

    def opening(self, choice: Choice) -> dict[str, Any]:
        return self._chunk(choice, {"role": "assistant", "content": ""}, Piece())

    def chunk(self, choice: Choice, piece: Piece) -> dict[str, Any]:
        delta: Delta = {}
        if piece.reasoning:
            delta["reasoning_content"] = piece.reasoning
        if piece.content:
            delta["content"] = piece.content
        return self._chunk(choice, delta, piece)

    def _chunk(self, choice: Choice, delta: Delta, piece: Piece) -> dict[str, Any]:
        shown = {
            "index": choice.index,
            "delta": delta,
            "logprobs": chat_logprobs(choice.text, piece.tokens)
            if self.wants_logprobs and piece.tokens
            else None,
            "finish_reason": piece.finish_reason,
        }
        return self._reply("chat.completion.chunk", [self._with_ids(shown, piece.tokens)])

    def ending(self) -> dict[str, Any]:
        return self._reply("chat.completion.chunk", [])

    def whole(self) -> dict[str, Any]:
        choices = [self._whole(choice) for choice in self.run.choices]
        return self._reply(
            "chat.completion", choices, usage=self.run.usage(), timings=self.run.timings()
        )

    def _whole(self, choice: Choice) -> ChatChoice:
        piece = choice.whole
        message: AnswerMessage = {"role": "assistant", "content": piece.content, "refusal": None}
        if piece.reasoning:
            message["reasoning_content"] = piece.reasoning
        shown = {
            "index": choice.index,
            "message": message,
            "logprobs": chat_logprobs(choice.text, piece.tokens) if self.wants_logprobs else None,
            "finish_reason": piece.finish_reason,
        }
        return self._with_ids(shown, piece.tokens)  # type: ignore[no-any-return]


class CompletionFormat(_Head):
    """`prompts` are the texts that `echo` gives back, by prompt index."""

    def __init__(self, run: Run, body: CompletionBody, prompts: list[str]) -> None:
        super().__init__(run, body, prefix="cmpl-")
        self.top = body.logprobs
        self.echoed = prompts if body.echo else None
        # The prompt's own log-probabilities are known when its request has ended.
        self.waits_for_end = self.echoed is not None and self.top is not None
        self._offsets: dict[int, int] = {}

    def opening(self, choice: Choice) -> dict[str, Any] | None:
        if self.echoed is None:
            return None
        return self.chunk(choice, Piece(content=self.echoed[choice.prompt_index]))

    def chunk(self, choice: Choice, piece: Piece) -> dict[str, Any]:
        offset = self._offsets.get(choice.index, 0)
        self._offsets[choice.index] = offset + len(piece.content)
        shown = {
            "index": choice.index,
            "text": piece.content,
            "logprobs": self._logprobs(choice, piece.tokens, offset) if piece.tokens else None,
            "finish_reason": piece.finish_reason,
        }
        return self._reply("text_completion", [self._with_ids(shown, piece.tokens)])

    def ending(self) -> dict[str, Any]:
        return self._reply("text_completion", [])

    def whole(self) -> dict[str, Any]:
        choices = [self._whole(choice) for choice in self.run.choices]
        return self._reply(
            "text_completion", choices, usage=self.run.usage(), timings=self.run.timings()
        )

    def _whole(self, choice: Choice) -> Any:
        piece = choice.whole
        prompt = self.echoed[choice.prompt_index] if self.echoed is not None else ""
        shown = {
            "index": choice.index,
            "text": prompt + piece.content,
            "logprobs": self._whole_logprobs(choice, len(prompt)),
            "finish_reason": piece.finish_reason,
        }
        return self._with_ids(shown, piece.tokens)

    def _logprobs(self, choice: Choice, tokens: list[ShownToken], offset: int) -> Logprobs | None:
        if self.top is None:
            return None
        ids, each = [t.id for t in tokens], [t.logprobs for t in tokens]
        return completion_logprobs(choice.text, ids, each, offset=offset, top=self.top)

    def _whole_logprobs(self, choice: Choice, offset: int) -> Logprobs | None:
        """The answer's, behind the prompt's own when it is echoed; its first token has none."""
        answer = self._logprobs(choice, choice.whole.tokens, offset)
        if answer is None or self.echoed is None or choice.result is None:
            return answer
        ids = choice.request.prompt_token_ids
        each = [None, *choice.result.echo][: len(ids)]
        each += [None] * (len(ids) - len(each))
        top = self.top or 0
        reply = completion_logprobs(choice.text, ids, each, offset=0, top=top)
        reply["tokens"] += answer["tokens"]
        reply["token_logprobs"] += answer["token_logprobs"]
        reply["text_offset"] += answer["text_offset"]
        if reply["top_logprobs"] is not None:
            reply["top_logprobs"] += answer["top_logprobs"] or []
        return reply
