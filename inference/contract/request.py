"""One answer to make, as the site submits it and a worker runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inference.contract.clock import Stamp
from inference.contract.sampling import SamplingParams

Source = Literal["chat", "api"]

GrammarKind = Literal["schema", "regex", "grammar"]
"""A JSON schema ("{}" is any object), a regular expression that the answer matches as a whole, or a
grammar in Lark's notation or in GBNF."""

PRIORITY_CHAT = 0
PRIORITY_API = 1001  # with up to 1000 either way: never before somebody who chats


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must follow: a text of its kind."""

    kind: GrammarKind
    text: str


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
    constraint: Constraint | None = None  # None: free text
    wants_records: bool = False  # how each token was chosen (token_record.py) comes with it
    cache_salt: str = ""  # keys and values are shared only with requests of the same salt
