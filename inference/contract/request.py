"""One answer to make, as the site submits it and a worker runs it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from inference.contract.clock import Stamp
from inference.contract.sampling import SamplingParams

Source = Literal["chat", "api"]

GrammarKind = Literal["schema", "regex", "grammar"]

PRIORITY_CHAT = 0
PRIORITY_API = 1001  # with up to 1000 either way: never before somebody who chats


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One answer to make. The prompt is already tokens: text/ has rendered, counted and trimmed it.

    `continue_from` are tokens the answer already has (after a crash, a length stop, a branch); the
    engine goes on behind them as if it had sampled them itself.
    """

    request_id: str
    model: str
    prompt_token_ids: tuple[int, ...]
    sampling: SamplingParams
    received: Stamp
    attempt: int = 1
    continue_from: tuple[int, ...] = ()
    priority: int = PRIORITY_CHAT
    source: Source = "chat"
    submitted: Stamp | None = None
    expires_s: float = 600.0  # waiting longer than this ends the request as failed: "expired"
    echo_logprobs: int | None = None  # top n log-probabilities of the prompt's own tokens
    response_schema: str | None = None  # JSON schema the answer must follow; "{}" is any object
    response_regex: str | None = None  # or a regular expression that it must match as a whole
    response_grammar: str | None = None  # or a grammar, in Lark's notation or in GBNF
    cache_salt: str = ""  # keys and values are shared only with requests of the same salt

    @property
    def constraint(self) -> tuple[GrammarKind, str] | None:
        """What the answer must follow, if it isn't free."""
        if self.response_schema is not None:
            return "schema", self.response_schema
        if self.response_regex is not None:
            return "regex", self.response_regex
        return None if self.response_grammar is None else ("grammar", self.response_grammar)

    def next_attempt(self, *, continue_from: tuple[int, ...]) -> GenerationRequest:
        return dataclasses.replace(self, attempt=self.attempt + 1, continue_from=continue_from)
