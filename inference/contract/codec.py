"""The wire form of the contract's dataclasses: JSON, written and read by msgspec.

A field that this version doesn't know is ignored, so that a newer web process can talk to an older
worker during an upgrade. msgspec is imported with the first value: an engine without a queue
(bench, the command line) runs where it isn't installed.
"""

from __future__ import annotations

import functools
from typing import Any, TypeVar, cast

T = TypeVar("T")


def to_wire(value: Any) -> str:
    """JSON text of a contract dataclass."""
    text: bytes = _encoder().encode(value)
    return text.decode()


def from_wire(kind: type[T], text: str | bytes) -> T:
    """The dataclass of that JSON text. Raises ValueError when it doesn't fit."""
    import msgspec

    try:
        return cast(T, _decoder(kind).decode(text))  # type: ignore[arg-type]
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error


@functools.cache
def _encoder() -> Any:
    import msgspec

    return msgspec.json.Encoder()


@functools.cache
def _decoder(kind: Any) -> Any:
    import msgspec

    return msgspec.json.Decoder(kind)
