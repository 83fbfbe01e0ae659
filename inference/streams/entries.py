"""Events as entries of a Redis Stream: two fields, the kind (`k`) and the JSON (`d`)."""

from __future__ import annotations

from collections.abc import Mapping

from inference.contract import EVENT_TYPES, Event, from_wire, to_wire

_KIND = {kind: name for name, kind in EVENT_TYPES.items()}


def entry_of(event: Event) -> tuple[str, str]:
    return _KIND[type(event)], to_wire(event)


def event_of(fields: Mapping[bytes, bytes]) -> Event:
    """Raises ValueError for an entry of a newer version that this one can't read."""
    kind = EVENT_TYPES.get(fields.get(b"k", b"").decode())
    if kind is None:
        raise ValueError("an entry of an unknown kind")
    return from_wire(kind, fields[b"d"])
