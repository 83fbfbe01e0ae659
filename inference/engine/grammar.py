"""Answers that follow a JSON schema: at every step, the tokens that keep the answer valid.

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

LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One fixed way to space JSON; free white space lets a small model write blanks for ever."""


class BadSchema(ValueError):
    """The schema can't be followed; the text says why, for whoever wrote it."""


class Grammars:
    """Makes the grammars of one model's answers. `start` may be called from any thread."""

    def __init__(self, tokenizer_file: Path, *, vocab_size: int, eos_token_ids: Sequence[int]):
        self._file = tokenizer_file
        self._vocab_size = vocab_size
        self._eos = [token for token in eos_token_ids if token < vocab_size]
        self._tokenizer: Any = None
        self._building = threading.Lock()

    def start(self, schema: str, answer: Sequence[int] = ()) -> JsonGrammar:
        """The state behind `answer`, tokens that the answer has already. "{}" is any object.

        Takes milliseconds, for a very large schema up to a second, without the interpreter lock.
        Raises BadSchema for text that is no JSON schema, and for an answer that breaks it.
        """
        try:
            parsed = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise BadSchema(f"The schema is not JSON: {error}") from error
        if not isinstance(parsed, (dict, bool)):
            raise BadSchema("The schema must be a JSON object.")
        try:
            from llguidance import LLMatcher
        except ImportError as error:
            raise BadSchema("Schemas need the package llguidance on the worker.") from error
        if parsed == {}:
            parsed = {"type": "object"}
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(parsed), overrides=LAYOUT)  # type: ignore[arg-type]
        matcher = LLMatcher(self._load_tokenizer(), grammar, log_level=0)
        if matcher.is_error():
            raise BadSchema(f"The schema can't be followed: {matcher.get_error()}")
        if answer and not matcher.consume_tokens(list(answer)):
            raise BadSchema("The answer so far doesn't follow the schema.")
        return JsonGrammar(matcher, self._vocab_size)

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


class JsonGrammar:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._bits = np.zeros(-(-vocab_size // 32), dtype=np.int32)

    def forbidden(self) -> Tensor:
        """Which tokens would break the grammar: bool (V,) on the CPU."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")
        return torch.from_numpy(bits[: self._vocab_size] == 0)

    def accept(self, token_id: int) -> None:
        """Go on behind this token. Raises BadSchema if the grammar forbids it."""
        if not self._matcher.consume_token(token_id):
            raise BadSchema(f"Token {token_id} breaks the schema.")

    @property
    def is_finished(self) -> bool:
        """Whether nothing more can come."""
        return bool(self._matcher.is_stopped())
