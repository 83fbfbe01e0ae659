"""The wire form of the contract's dataclasses: JSON, written and read by msgspec.

A field that this version doesn't know is ignored, so that a newer web process can talk to an older
worker during an upgrade.
"""

from __future__ import annotations

import functools
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


def to_wire(value: Any) -> str:
    """JSON text of a contract dataclass."""
    return _encoder.encode(value).decode()


def from_wire(kind: type[T], text: str | bytes) -> T:
    """The dataclass of that JSON text. Raises ValueError when it doesn't fit."""
    try:
        return cast(T, _decoder(kind).decode(text))  # type: ignore[arg-type]
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
