"""The two shapes of a reply, whole and in chunks: chat completions and completions."""

from __future__ import annotations

import time
from typing import Protocol, TypedDict

from chatsite.api.schemas.chat_completions import (
    AnswerMessage,
    ChatBody,
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatLogprobs,
    ChunkChoice,
    Delta,
)
from chatsite.api.schemas.common import GenerationBody
from chatsite.api.schemas.replies import PromptLogprobs
from chatsite.api.schemas.text_completions import Choice as TextChoice
from chatsite.api.schemas.text_completions import Completion, CompletionBody, Logprobs
from chatsite.api.serving.choice import AnswerToken, Choice, Piece
from chatsite.api.serving.logprobs import (
    chat_logprobs,
    completion_logprobs,
    prompt_logprobs,
    prompt_tokens,
)
from chatsite.api.serving.runs import Run
from inference.contract import TokenLogprobs

Chunk = ChatCompletionChunk | Completion


class Format(Protocol):
    """Writes a run as the chunks of a stream, or as one whole reply."""

    waits_for_end: bool  # nothing can be shown before everything is known

    def opening(self, choice: Choice) -> Chunk | None: ...

    def chunk(self, choice: Choice, piece: Piece) -> Chunk: ...

    def ending(self) -> Chunk: ...

    def whole(self) -> ChatCompletion | Completion: ...


class _Head(TypedDict):
    """What every reply and every chunk begins with."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class _TokenIds(TypedDict, total=False):
    token_ids: list[int]


class _PromptIds(TypedDict, total=False):
    prompt_token_ids: list[int]


class _PromptScores(TypedDict, total=False):
    prompt_logprobs: PromptLogprobs


class _Writer:
    """What both shapes share: their head, token ids and the prompt's log-probabilities."""

    def __init__(self, run: Run, body: GenerationBody, *, prefix: str) -> None:
        self.run = run
        self.shows_ids = bool(body.return_token_ids)
        self.names_ids = bool(body.return_tokens_as_token_ids)
        self.prompt_top = body.prompt_logprobs
        self.head: _Head = {
            "id": prefix + run.id,
            "created": int(time.time()),
            "model": run.model.slug,
            "system_fingerprint": f"fp_{run.model.version}",
        }

    def _ids(self, piece: Piece) -> _TokenIds:
        return {"token_ids": piece.token_ids} if self.shows_ids else {}

    def _prompt_ids(self, choice: Choice) -> _PromptIds:
        return {"prompt_token_ids": [*choice.request.prompt_token_ids]} if self.shows_ids else {}

    def _scores(self, choice: Choice) -> tuple[TokenLogprobs, ...]:
        """Log-probabilities of the prompt's tokens: only the first choice of a prompt has them."""
        first = next(c for c in self.run.choices if c.prompt_index == choice.prompt_index)
        return first.result.echo if first.result else ()

    def _prompt_logprobs(self, choice: Choice) -> _PromptScores:
        if self.prompt_top is None:
            return {}
        ids = choice.request.prompt_token_ids
        found = prompt_logprobs(choice.text, ids, self._scores(choice), top=self.prompt_top)
        return {"prompt_logprobs": found}


class ChatFormat(_Writer):
    """Chat completions. `echoed` is put before each answer: the message that it continues."""

    waits_for_end = False

    def __init__(self, run: Run, body: ChatBody, *, echoed: str = "") -> None:
        super().__init__(run, body, prefix="chatcmpl-")
        self.wants_logprobs = bool(body.logprobs)
        self.echoed = echoed

    def opening(self, choice: Choice) -> ChatCompletionChunk:
        opened = self._chunk(choice, {"role": "assistant", "content": self.echoed}, Piece())
        return {**opened, **self._prompt_ids(choice)}

    def chunk(self, choice: Choice, piece: Piece) -> ChatCompletionChunk:
        delta: Delta = {}
        if piece.reasoning:
            delta["reasoning_content"] = piece.reasoning
        if piece.content:
            delta["content"] = piece.content
        return self._chunk(choice, delta, piece)

    def _chunk(self, choice: Choice, delta: Delta, piece: Piece) -> ChatCompletionChunk:
        shown: ChunkChoice = {
            "index": choice.index,
            "delta": delta,
            "logprobs": self._logprobs(choice, piece) if piece.tokens else None,
            "finish_reason": piece.finish_reason,
            "stop_reason": piece.stop_reason,
            **self._ids(piece),
        }
        return {**self.head, "object": "chat.completion.chunk", "choices": [shown]}

    def ending(self) -> ChatCompletionChunk:
        return {**self.head, "object": "chat.completion.chunk", "choices": []}

    def whole(self) -> ChatCompletion:
        first = self.run.choices[0]
        return {
            **self.head,
            "object": "chat.completion",
            "choices": [self._whole(choice) for choice in self.run.choices],
            "usage": self.run.usage(),
            "timings": self.run.timings(),
            **self._prompt_ids(first),
            **self._prompt_logprobs(first),
        }

    def _whole(self, choice: Choice) -> ChatChoice:
        piece = choice.whole
        assert piece.finish_reason is not None, "a whole reply waits for every choice"
        content = self.echoed + piece.content
        message: AnswerMessage = {"role": "assistant", "content": content, "refusal": None}
        if piece.reasoning:
            message["reasoning_content"] = piece.reasoning
        return {
            "index": choice.index,
            "message": message,
            "logprobs": self._logprobs(choice, piece),
            "finish_reason": piece.finish_reason,
            "stop_reason": piece.stop_reason,
            **self._ids(piece),
        }

    def _logprobs(self, choice: Choice, piece: Piece) -> ChatLogprobs | None:
        if not self.wants_logprobs:
            return None
        return chat_logprobs(
            choice.text,
            piece.tokens,
            as_ids=self.names_ids,
            skip_special_tokens=choice.request.sampling.skip_special_tokens,
        )


class CompletionFormat(_Writer):
    """Completions. `prompts` are the texts that `echo` gives back, by prompt index."""

    def __init__(self, run: Run, body: CompletionBody, prompts: list[str]) -> None:
        super().__init__(run, body, prefix="cmpl-")
        self.top = body.logprobs
        self.echoed = prompts if body.echo else None
        # The prompt's own log-probabilities are known when its request has ended.
        self.waits_for_end = self.echoed is not None and self.top is not None

    def opening(self, choice: Choice) -> Completion | None:
        if self.echoed is None and not self.shows_ids:
            return None
        shown = self._chunk(choice, Piece(content=self._echo(choice)))
        return self._completion([{**shown, **self._prompt_ids(choice)}])

    def chunk(self, choice: Choice, piece: Piece) -> Completion:
        return self._completion([self._chunk(choice, piece)])

    def _chunk(self, choice: Choice, piece: Piece) -> TextChoice:
        offset = len(self._echo(choice))
        return {
            "index": choice.index,
            "text": piece.content,
            "logprobs": self._logprobs(choice, piece.tokens, offset) if piece.tokens else None,
            "finish_reason": piece.finish_reason,
            "stop_reason": piece.stop_reason,
            **self._ids(piece),
        }

    def ending(self) -> Completion:
        return self._completion([])

    def whole(self) -> Completion:
        reply = self._completion([self._whole(choice) for choice in self.run.choices])
        return {**reply, "usage": self.run.usage(), "timings": self.run.timings()}

    def _completion(self, choices: list[TextChoice]) -> Completion:
        return {**self.head, "object": "text_completion", "choices": choices}

    def _echo(self, choice: Choice) -> str:
        return self.echoed[choice.prompt_index] if self.echoed is not None else ""

    def _whole(self, choice: Choice) -> TextChoice:
        piece = choice.whole
        return {
            "index": choice.index,
            "text": self._echo(choice) + piece.content,
            "logprobs": self._whole_logprobs(choice),
            "finish_reason": piece.finish_reason,
            "stop_reason": piece.stop_reason,
            **self._ids(piece),
            **self._prompt_ids(choice),
            **self._prompt_logprobs(choice),
        }

    def _logprobs(self, choice: Choice, tokens: list[AnswerToken], offset: int) -> Logprobs | None:
        if self.top is None:
            return None
        return completion_logprobs(
            choice.text, tokens, offset=offset, top=self.top, as_ids=self.names_ids
        )

    def _whole_logprobs(self, choice: Choice) -> Logprobs | None:
        """The answer's, behind the prompt's own when it is echoed; its first token has none."""
        shown = self._echo(choice)
        answer = self._logprobs(choice, choice.whole.tokens, len(shown))
        if answer is None or self.echoed is None:
            return answer
        ids = choice.request.prompt_token_ids
        each = [None, *self._scores(choice)][: len(ids)]
        each += [None] * (len(ids) - len(each))
        reply = self._logprobs(choice, prompt_tokens(choice.text, ids, each, shown=shown), 0)
        assert reply is not None
        reply["tokens"] += answer["tokens"]
        reply["token_logprobs"] += answer["token_logprobs"]
        reply["text_offset"] += answer["text_offset"]
        if reply["top_logprobs"] is not None:
            reply["top_logprobs"] += answer["top_logprobs"] or []
        return reply
