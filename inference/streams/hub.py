"""Follows the streams that a web process's sockets want, over one Redis connection.

One blocking XREAD names all streams; a wake-up stream of the hub's own ends it when a new wish
comes. Each reader gets the whole stream from the position it has, then what comes, in order, from a
bounded queue. Redis away: the hub tries again and goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import redis.asyncio
from redis.exceptions import RedisError

from inference.contract import Delta, Event, Result, Started
from inference.streams import keys
from inference.streams.entries import event_of
from inference.streams.settings import CONNECT_S, settings

logger = logging.getLogger(__name__)

BLOCK_MS = 5000
PLACE_EVERY_S = 1.0
RETRY_S = 0.5
MAX_BEHIND = 20_000  # events a reader may lag; at 50 tokens/s more than six minutes
FIRST = b"0-0"


@dataclass(frozen=True, slots=True)
class Place:
    """A waiting request's place in line; 1 is next."""

    request_id: str
    place: int


class SlowReader(Exception):
    """This reader doesn't keep up; its queue is full."""


@dataclass(eq=False)
class _Reader:
    """One follower: entries after `last` go into its queue."""

    request_id: str
    last: bytes = FIRST
    queue: asyncio.Queue[Event | Place | None] = field(
        default_factory=lambda: asyncio.Queue(MAX_BEHIND)
    )
    is_waiting: bool = True  # no worker has taken it up yet
    is_overrun: bool = False

    def put(self, item: Event | Place | None) -> None:
        try:
            self.queue.put_nowait(item)
        except asyncio.QueueFull:
            self.is_overrun = True

    def take_in(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        if _order(entry_id) <= _order(self.last):
            return
        self.last = entry_id
        event = event_of(fields)
        if isinstance(event, Started):
            self.is_waiting = False
        self.put(event)


class StreamHub:
    """One per event loop. `follow` may be called as often as wanted."""

    def __init__(self) -> None:
        self._readers: dict[str, set[_Reader]] = {}
        self._wake_stream = keys.wake(uuid.uuid4().hex)
        self._redis = redis.asyncio.Redis.from_url(
            settings().redis_url,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=BLOCK_MS / 1000 + 5,  # above the block, or a quiet time is an error
            retry=None,
            protocol=2,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def follow(self, request_id: str, *, position: int = 0) -> AsyncIterator[Event | Place]:
        """Events of a request up to its Result, and its place in line while it waits.

        Deltas that end at or before token `position` are left out. Waits for a stream that doesn't
        exist yet. Raises SlowReader when the consumer lags too far.
        """
        reader = _Reader(request_id)
        self._readers.setdefault(request_id, set()).add(reader)
        try:
            await self._start(reader)
            while True:
                item = await reader.queue.get()
                if reader.is_overrun:
                    raise SlowReader
                if item is None:
                    continue
                if isinstance(item, Delta) and item.position + len(item.token_ids) <= position:
                    continue
                yield item
                if isinstance(item, Result):
                    return
        finally:
            self._readers[request_id].discard(reader)
            if not self._readers[request_id]:
                del self._readers[request_id]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        with suppress(Exception):
            await self._redis.aclose()

    async def _start(self, reader: _Reader) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._read_forever()),
                asyncio.create_task(self._tell_places()),
            ]
        with suppress(RedisError, OSError):  # away: the loop reads from the start when it is back
            for entry_id, fields in await self._redis.xrange(keys.stream(reader.request_id)):
                reader.take_in(entry_id, fields)
            await self._redis.xadd(self._wake_stream, {"w": "1"}, maxlen=1)
            await self._redis.expire(self._wake_stream, 3600)

    async def _read_forever(self) -> None:
        wake_last: bytes = FIRST  # not "$": a wish that came between two reads would be missed
        while True:
            try:
                wanted = {
                    keys.stream(request_id): min((r.last for r in readers), key=_order)
                    for request_id, readers in self._readers.items()
                }
                answer = await self._redis.xread(
                    {self._wake_stream: wake_last, **wanted}, block=BLOCK_MS, count=1000
                )
                for name, entries in answer or []:
                    if name.decode() == self._wake_stream:
                        wake_last = entries[-1][0]
                    else:
                        self._hand_out(name.decode().rsplit(":", 1)[1], entries)
            except (RedisError, OSError) as error:
                logger.warning("stream hub: %s; trying again", type(error).__name__)
                await asyncio.sleep(RETRY_S)

    def _hand_out(self, request_id: str, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for reader in list(self._readers.get(request_id, ())):
            for entry_id, fields in entries:
                try:
                    reader.take_in(entry_id, fields)
                except ValueError as error:
                    logger.warning("request %s: %s", request_id[:8], error)

    async def _tell_places(self) -> None:
        """Once a second, the place in line of every followed request that still waits."""
        told: dict[_Reader, int] = {}
        while True:
            await asyncio.sleep(PLACE_EVERY_S)
            waiting = [r for rs in self._readers.values() for r in rs if r.is_waiting]
            told = {reader: place for reader, place in told.items() if reader in waiting}
            if not waiting:
                continue
            with suppress(RedisError, OSError):
                models = await self._each(
                    "hget", [(keys.request(r.request_id), "model") for r in waiting]
                )
                lines = [keys.waiting((m or b"").decode()) for m in models]
                ranks = await self._each(
                    "zrank", [(line, r.request_id) for line, r in zip(lines, waiting, strict=True)]
                )
                for reader, rank in zip(waiting, ranks, strict=True):
                    if rank is not None and told.get(reader) != rank:
                        told[reader] = rank
                        reader.put(Place(reader.request_id, int(rank) + 1))

    async def _each(self, command: str, arguments: list[tuple[str, str]]) -> list:  # type: ignore[type-arg]
        async with self._redis.pipeline(transaction=False) as pipe:
            for args in arguments:
                getattr(pipe, command)(*args)
            return list(await pipe.execute())


def _order(entry_id: bytes) -> tuple[int, int]:
    """Entry ids compare as pairs of numbers, not as text."""
    time_ms, _, number = entry_id.partition(b"-")
    return int(time_ms), int(number or 0)
