"""Follows all the streams that a web process's sockets want, over one Redis connection.

One blocking XREAD covers all of them; an entry in the hub's own wake-up stream ends it when a
reader joins. Each reader first gets what its stream holds behind its position, then new entries in
order through a bounded queue. While Redis is away the hub retries, then goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from inference.contract import Event, Result
from inference.queue import keys
from inference.queue.connection import ANSWER_S, CONNECT_S, settings
from inference.queue.entries import Entry, events_of
from inference.queue.stream_reader import (
    FIRST,
    EntryId,
    QueuePosition,
    SlowReader,
    StreamReader,
)

logger = logging.getLogger(__name__)

BLOCK_MS = 5000
LOOK_EVERY_S = 1.0
RETRY_S = 0.3
PAGE = 1000
SHORT_CONNECTIONS = 8
POOL_S = 10.0  # how long a reader waits for one of them


def _end_if_cancelled() -> None:
    """redis-py sometimes swallows a cancellation; the task would then never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def _redis_may_be_away() -> Iterator[None]:
    """Pass over errors of Redis; the hub tries again by itself."""
    with suppress(RedisError, OSError):
        yield
    _end_if_cancelled()


class StreamHub:
    """One per event loop. `follow` may be called as often as wanted."""

    def __init__(self) -> None:
        self._readers: dict[str, set[StreamReader]] = {}
        self._wake_stream = keys.wake(uuid.uuid4().hex)
        # Longer than a read blocks, or a quiet stream would be an error.
        self._blocking: Any = redis.asyncio.Redis.from_url(
            settings().redis_url, **_options(answer_s=BLOCK_MS / 1000 + 5)
        )
        # Hundreds of pages may reload at once: they wait for one of a few connections.
        self._short: Any = redis.asyncio.Redis(
            connection_pool=redis.asyncio.BlockingConnectionPool.from_url(
                settings().redis_url,
                max_connections=SHORT_CONNECTIONS,
                timeout=POOL_S,
                **_options(answer_s=ANSWER_S),
            )
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def follow(
        self, request_id: str, *, position: int = 0, joins: bool = False
    ) -> AsyncIterator[Event | QueuePosition]:
        """Events of a request up to its Result, and its position in the queue while it waits.

        Deltas that end at or before token `position` are left out; with `joins`, deltas that are
        available together come as one. Waits for a stream that doesn't exist yet; ends without a
        Result when Redis no longer knows the request. Raises SlowReader when the consumer lags too
        far.
        """
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._read_forever()),
                asyncio.create_task(self._look_forever()),
            ]
        reader = StreamReader(request_id, position, joins)
        try:
            async for item in self._items(reader):
                yield item
                if isinstance(item, Result):
                    return
        finally:
            readers = self._readers.get(request_id, set())
            readers.discard(reader)
            if not readers:
                self._readers.pop(request_id, None)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        with suppress(Exception):
            await self._blocking.aclose(close_connection_pool=True)
            await self._short.aclose(close_connection_pool=True)

    # --- one reader ------------------------------------------------------------------------------

    async def _items(self, reader: StreamReader) -> AsyncIterator[Event | QueuePosition]:
        """Read what the stream holds so far, then take what the hub hands out."""
        while page := await self._page_after(reader):
            entries = _ordered(page, reader.request_id)
            for event in reader.together(e for id_, e in entries if reader.note(id_, e) and e):
                yield event
        self._readers.setdefault(reader.request_id, set()).add(reader)
        with _redis_may_be_away():
            await self._short.xadd(self._wake_stream, {"w": "1"}, maxlen=1)
            await self._short.expire(self._wake_stream, 3600)
        while True:
            items = await reader.take()
            if reader.is_overrun:
                raise SlowReader(f"a reader of {reader.request_id[:8]} lags too far")
            for item in reader.together(items):
                if item is None:
                    return
                yield item

    async def _page_after(self, reader: StreamReader) -> list[Entry]:
        """The next entries for this reader; none when Redis is away."""
        after = b"(%d-%d" % reader.last
        with _redis_may_be_away():
            page: list[Entry] = await self._short.xrange(
                keys.stream(reader.request_id), min=after, count=PAGE
            )
            return page
        return []

    # --- all readers -----------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        wake_last: EntryId = FIRST  # not "$": a wake-up between two reads would be missed
        while True:
            _end_if_cancelled()
            since = {
                request_id: min(reader.last for reader in readers)
                for request_id, readers in self._readers.items()
            }
            wanted = {keys.stream(id_): b"%d-%d" % last for id_, last in since.items()}
            try:
                answer = await self._blocking.xread(
                    {self._wake_stream: b"%d-%d" % wake_last, **wanted}, block=BLOCK_MS, count=PAGE
                )
                for name, entries in answer or []:
                    if name.decode() == self._wake_stream:
                        wake_last = _order(entries[-1][0])
                    else:
                        request_id = name.decode().rsplit(":", 1)[1]
                        self._hand_out(request_id, entries, since=since[request_id])
            except (RedisError, OSError) as error:
                _end_if_cancelled()
                logger.warning("stream hub: %s; trying again", type(error).__name__)
                await asyncio.sleep(RETRY_S)

    def _hand_out(self, request_id: str, entries: Iterable[Entry], *, since: EntryId) -> None:
        """Pass entries on that were read from `since`.

        A reader that joined during the read and is further back gets nothing of them: it would miss
        what lies between. The next read begins where it is.
        """
        readers = [r for r in self._readers.get(request_id, ()) if r.last >= since]
        for entry_id, event in _ordered(entries, request_id):
            for reader in readers:
                if reader.note(entry_id, event) and event:
                    reader.put(event)

    async def _look_forever(self) -> None:
        """Once a second: positions in the queue, and requests that are known no more."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            readers = [reader for group in self._readers.values() for reader in group]
            if readers:
                with _redis_may_be_away():
                    await self._look(readers)

    async def _look(self, readers: list[StreamReader]) -> None:
        async with self._short.pipeline(transaction=False) as pipe:
            for reader in readers:
                pipe.hget(keys.request(reader.request_id), "model")
            models = [(model or b"").decode() for model in await pipe.execute()]
            waiting = [(r, model) for r, model in zip(readers, models, strict=True) if model]
            for reader, model in waiting:
                pipe.zrank(keys.waiting(model), reader.request_id)
            ranks = await pipe.execute()
        for reader, model in zip(readers, models, strict=True):
            if reader.is_known and not model:
                reader.put(None)
            reader.is_known = reader.is_known or bool(model)
        for (reader, _), rank in zip(waiting, ranks, strict=True):
            if reader.is_waiting and rank is not None and reader.queue_position != rank + 1:
                reader.queue_position = int(rank) + 1
                reader.put(QueuePosition(reader.request_id, reader.queue_position))


def _options(*, answer_s: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": answer_s,
        "retry": None,
        "protocol": 2,
    }


def _ordered(entries: Iterable[Entry], request_id: str) -> Iterator[tuple[EntryId, Event | None]]:
    for entry_id, event in events_of(entries, request_id=request_id):
        yield _order(entry_id), event


def _order(entry_id: bytes) -> EntryId:
    """Entry ids compare as pairs of numbers, not as text."""
    time_ms, _, number = entry_id.partition(b"-")
    return int(time_ms), int(number or 0)
