"""Answers that follow a JSON schema, a regular expression or a grammar: what may come next.

A thin face over llguidance, which is imported when the first such request comes. The state is
rebuilt by feeding it the tokens an answer already has.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.contract import GrammarKind
from inference.engine.sampling.grammar_errors import in_own_words

LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One fixed way to space JSON; free white space lets a small model write blanks for ever."""


NAMES: dict[GrammarKind, str] = {
    "schema": "schema",
    "regex": "regular expression",
    "grammar": "grammar",
}


class BadSchema(ValueError):
    """The schema, expression or grammar can't be followed; the text says why, for its author."""


class Grammars:
    """Makes the grammars of one model's answers. `start` may be called from any thread."""

    def __init__(self, tokenizer_file: Path, *, vocab_size: int, eos_token_ids: Sequence[int]):
        self._file = tokenizer_file
        self._vocab_size = vocab_size
        self._eos = [token for token in eos_token_ids if token < vocab_size]
        self._tokenizer: Any = None
        self._building = threading.Lock()

    def start(self, kind: GrammarKind, text: str, answer: Sequence[int] = ()) -> AnswerGrammar:
        """The state behind `answer`, tokens that the answer has already. Schema "{}" is any object.

        Takes milliseconds, for a very large schema up to a second, without the interpreter lock.
        Raises BadSchema for text that isn't of its kind, and for an answer that breaks it.
        """
        try:
            from llguidance import LLMatcher
        except ImportError as error:
            raise BadSchema("Grammars need the package llguidance on the worker.") from error
        matcher = LLMatcher(self._load_tokenizer(), _compiled(kind, text), log_level=0)
        if matcher.is_error():
            reason = in_own_words(matcher.get_error())
            raise BadSchema(f"The {NAMES[kind]} can't be followed: {reason}")
        if answer and not matcher.consume_tokens(list(answer)):
            raise BadSchema(f"The answer so far doesn't follow the {NAMES[kind]}.")
        grammar = AnswerGrammar(matcher, self._vocab_size)
        if not answer and grammar.is_stuck():
            raise BadSchema(f"The {NAMES[kind]} can't be followed: nothing fits it.")
        return grammar

    def _load_tokenizer(self) -> Any:
        from llguidance import LLTokenizer

        with self._building:
            if self._tokenizer is None:
                self._tokenizer = LLTokenizer(
                    self._file.read_text(encoding="utf-8"),
                    n_vocab=self._vocab_size,
                    eos_token=self._eos or None,
                )
            return self._tokenizer


def _compiled(kind: GrammarKind, text: str) -> str:
    """llguidance's own form of the text. Whether a grammar is GBNF or Lark, llguidance decides."""
    from llguidance import LLMatcher, grammar_from

    if kind == "schema":
        return LLMatcher.grammar_from_json_schema(_schema(text), overrides=LAYOUT)  # type: ignore[arg-type]
    try:
        return grammar_from(kind, text)
    except (ValueError, RecursionError) as error:
        reason = in_own_words(str(error))
        raise BadSchema(f"The {NAMES[kind]} can't be read: {reason}") from error


def _schema(text: str) -> str:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"The schema is not JSON: {error}") from error
    if not isinstance(parsed, (dict, bool)):
        raise BadSchema("The schema must be a JSON object.")
    return json.dumps({"type": "object"} if parsed == {} else parsed)


class AnswerGrammar:
    """The state of one answer in its grammar."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._bits = np.zeros(-(-vocab_size // 32), dtype=np.int32)

    def forbidden(self) -> Tensor:
        """Which tokens would break the grammar: bool (V,) on the CPU."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")
        return torch.from_numpy(bits[: self._vocab_size] == 0)

    def is_stuck(self) -> bool:
        """Whether no token may come, not even the end."""
        self.forbidden()
        return bool(self._matcher.is_stopped() and not self._matcher.is_accepting())

    def accept(self, token_id: int) -> None:
        """Advance by this token. Raises BadSchema if the grammar forbids it."""
        if not self._matcher.consume_token(token_id):
            raise BadSchema(f"Token {token_id} breaks the grammar.")

    @property
    def is_finished(self) -> bool:
        """Whether nothing more can come."""
        return bool(self._matcher.is_stopped())
