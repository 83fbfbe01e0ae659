"""Events as entries of a Redis Stream: two fields, the kind (`k`) and the JSON (`d`)."""

from __future__ import annotations

from collections.abc import Mapping

from inference.contract import EVENT_TYPES, Event, Stamp, from_wire, to_wire

_KINDS = {kind: name for name, kind in EVENT_TYPES.items()}


def entry_of(event: Event) -> tuple[str, str]:
    """Kind and JSON of an event."""
    return _KINDS[type(event)], to_wire(event)


def started_entry(*, worker: str, stamp: Stamp) -> tuple[str, str]:
    """Kind and JSON of a Started without request id and attempt.

    The ledger's script puts these two in front: it alone knows which request it takes.
    """
    return "started", to_wire({"worker": worker, "stamp": stamp})


def event_of(fields: Mapping[bytes, bytes]) -> Event:
    """Raises ValueError for an entry of a newer version that this one can't read."""
    name = fields.get(b"k", b"").decode()
    if name not in EVENT_TYPES:
        raise ValueError("an entry of an unknown kind")
    return from_wire(EVENT_TYPES[name], fields[b"d"])
