"""The bytes that a token stands for, so that an answer can be turned to text token by token.

Nearly every vocabulary of a language model is one of two kinds: byte level (GPT-2, Llama 3, Qwen,
gpt-oss), where each letter of a token stands for a byte, and pieces with ▁ for a space and <0xE2>
for lone bytes (Llama 2, Gemma, Mistral). Others are asked for the text that a token adds behind
another. Knows nothing of streams or stop strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Tokenizer

BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
Piece = Callable[[str], bytes]


class Pieces:
    """Token id → bytes. Special tokens and unknown ids are b"".

    `strips_first_space`: the first space of a whole text belongs to the vocabulary's way of
    writing and is left out.
    """

    def __init__(self, tokenizer: Tokenizer, decoder: Mapping[str, Any] | None) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._silent = {id for id, token in added.items() if token.special}
        self._known: dict[int, bytes] = {}
        self.strips_first_space = False
        kinds = _flatten(decoder)
        names = [kind["type"] for kind in kinds]
        self._piece: Piece | None = None
        if names == ["ByteLevel"]:
            self._piece = _byte_level_piece
        elif names and set(names) <= {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}:
            self._piece = _spaced_piece(kinds)
            self.strips_first_space = any(
                (kind["type"] == "Strip" and kind.get("start", 0) > 0)
                # Metaspace drops the first space when it was put there by the encoder.
                or (kind["type"] == "Metaspace" and kind.get("prepend_scheme") != "never")
                for kind in kinds
            )

    def __getitem__(self, token_id: int) -> bytes:
        found = self._known.get(token_id)
        if found is None:
            found = self._known[token_id] = self._bytes(token_id)
        return found

    def spelled(self, token_id: int) -> bytes:
        """The same, but a special token stands for its own name."""
        if token_id in self._silent:
            return (self._tokenizer.id_to_token(token_id) or "").encode()
        return self[token_id]

    def _bytes(self, token_id: int) -> bytes:
        if token_id in self._silent or token_id < 0:
            return b""
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if self._piece is not None:
            return self._piece(token)
        return self._difference(token_id)

    def _difference(self, token_id: int) -> bytes:
        """What the token adds to a text, by decoding it behind another one."""
        before = self._tokenizer.encode("a", add_special_tokens=False).ids
        alone = self._tokenizer.decode(before)
        text: str = self._tokenizer.decode([*before, token_id])
        return text[len(alone) :].encode() if text.startswith(alone) else b""


def _flatten(decoder: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if decoder is None:
        return []
    if decoder["type"] == "Sequence":
        return [kind for inner in decoder["decoders"] for kind in _flatten(inner)]
    return [decoder]


def _gpt2_alphabet() -> dict[str, int]:
    """Letter → byte, as in GPT-2: printable Latin-1 is itself, the rest comes from 256 on.

    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + place): byte for place, byte in enumerate(others)}


_ALPHABET = _gpt2_alphabet()


def _byte_level_piece(token: str) -> bytes:
    """Letters to bytes; a token with a letter that stands for none (an added one) is plain text."""
    try:
        return bytes([_ALPHABET[letter] for letter in token])
    except KeyError:
        return token.encode()


def _spaced_piece(kinds: list[Mapping[str, Any]]) -> Piece:
    spaces = [
        (kind["pattern"]["String"], kind["content"])
        for kind in kinds
        if kind["type"] == "Replace" and "String" in kind["pattern"]
    ]
    spaces += [(kind["replacement"], " ") for kind in kinds if kind["type"] == "Metaspace"]
    has_bytes = any(kind["type"] == "ByteFallback" for kind in kinds)

    def piece(token: str) -> bytes:
        match = BYTE_PIECE.fullmatch(token) if has_bytes else None
        if match:
            return bytes([int(match[1], 16)])
        for old, new in spaces:
            token = token.replace(old, new)
        return token.encode()

    return piece
