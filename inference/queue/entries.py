"""Events as entries of a Redis Stream: two fields, the kind (`k`) and the JSON (`d`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping

from inference.contract import EVENT_TYPES, Event, Stamp, from_wire, to_wire

logger = logging.getLogger(__name__)

Entry = tuple[bytes, dict[bytes, bytes]]
"""Id and fields, as Redis gives them."""

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
    """Raises ValueError for an entry that this version can't read."""
    name = fields.get(b"k", b"").decode()
    if name not in EVENT_TYPES:
        raise ValueError("an entry of an unknown kind")
    return from_wire(EVENT_TYPES[name], fields.get(b"d", b""))


def events_of(entries: Iterable[Entry], *, request_id: str) -> Iterator[tuple[bytes, Event | None]]:
    """Entry ids with their events, in order.

    None for an entry that can't be read, with one line in the log: it is damaged or of a newer
    version, and the entries behind it are still worth having.
    """
    for entry_id, fields in entries:
        try:
            yield entry_id, event_of(fields)
        except ValueError as error:
            logger.warning("request %s: entry %s: %s", request_id[:8], entry_id.decode(), error)
            yield entry_id, None
