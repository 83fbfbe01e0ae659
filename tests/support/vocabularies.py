"""Small vocabularies, made by the tokenizers library itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


def byte_level(folder: Path, *, special: Sequence[str] = (), pieces: Sequence[bytes] = ()) -> Path:
    """A folder with a vocabulary of the 256 bytes and these control tokens, as gpt-oss writes it.

    `pieces` are further tokens of several bytes each.
    """
    folder.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    alphabet += ["".join(letter_of(byte) for byte in piece) for piece in pieces]
    tokenizer = Tokenizer(models.BPE({letter: id for id, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def letter_of(byte: int) -> str:
    """How such a vocabulary writes a byte: printable Latin-1 as itself, others from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    if byte in printable:
        return chr(byte)
    return chr(256 + [other for other in range(256) if other not in printable].index(byte))
