"""One reader of a request's stream: its position, what it wants, and its bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from inference.contract import Delta, Event, Started
from inference.queue.delta_joining import joined

MAX_BEHIND = 8192  # events a reader may lag; at 50 tokens/s some minutes

EntryId = tuple[int, int]
FIRST: EntryId = (0, 0)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A waiting request's position in its model's queue; 1 is next."""

    request_id: str
    position: int


class SlowReader(Exception):
    """This reader doesn't keep up; its queue is full."""


@dataclass(eq=False)
class StreamReader:
    """One reader: entries after `last` go into its queue; None there says that no more come."""

    request_id: str
    position: int = 0  # tokens that it has already
    joins: bool = False
    last: EntryId = FIRST
    queue: asyncio.Queue[Event | QueuePosition | None] = field(
        default_factory=lambda: asyncio.Queue(MAX_BEHIND)
    )
    is_waiting: bool = True  # no worker has taken it up yet
    is_known: bool = False  # the ledger knew it once
    is_overrun: bool = False
    queue_position: int = 0

    def note(self, entry_id: EntryId, event: Event | None) -> bool:
        """Whether this entry is new to the reader and wanted; from now on it isn't new.

        One that couldn't be read (None) is noted too, or it would be read again and again.
        """
        if entry_id <= self.last:
            return False
        self.last = entry_id
        self.is_known = True
        if isinstance(event, Started):
            self.is_waiting = False
        is_had = isinstance(event, Delta) and event.position + len(event.token_ids) <= self.position
        return event is not None and not is_had

    def put(self, item: Event | QueuePosition | None) -> None:
        try:
            self.queue.put_nowait(item)
        except asyncio.QueueFull:
            self.is_overrun = True

    def together(self, items: Iterable[Item]) -> Iterable[Item]:
        return joined(items) if self.joins else items

    async def take(self) -> list[Event | QueuePosition | None]:
        """All that is there, at least one item."""
        items = [await self.queue.get()]
        while not self.queue.empty():
            items.append(self.queue.get_nowait())
        return items
