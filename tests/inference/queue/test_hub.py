"""Readers of streams: early, late, many, slow, and through a restart of a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from inference import client
from inference.contract import Delta, GenerationRequest, Result, Started
from inference.queue import hub as hub_module
from inference.queue import ledger, stream_reader
from inference.queue.connection import connect
from inference.queue.delta_joining import joined
from inference.queue.hub import StreamHub
from inference.queue.stream_reader import QueuePosition, SlowReader
from tests.support.redis import RedisServer
from tests.support.requests import (
    BROKEN_ENTRIES,
    break_stream,
    delta,
    ending,
    is_claimed,
    new_request,
    positions,
    running,
    write,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("live_redis")]


class Follower:
    """Reads a request in the background; `seen` is what came."""

    def __init__(
        self, hub: StreamHub, asked: GenerationRequest, *, position: int = 0, joins: bool = False
    ) -> None:
        self.seen: list[Any] = []
        self._stream = hub.follow(asked.request_id, position=position, joins=joins)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self._stream:
            self.seen.append(event)

    async def finish(self, timeout_s: float = 10) -> list[Any]:
        await asyncio.wait_for(self.task, timeout_s)
        return self.seen


@asynccontextmanager
async def open_hub() -> AsyncIterator[StreamHub]:
    hub = StreamHub()
    yield hub
    await hub.close()


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(function, *args)


@pytest.mark.parametrize("have", [0, 1, 2, 3])
async def test_a_reader_gets_what_it_has_not_whenever_it_comes(have: int) -> None:
    asked = running(new_request())
    write(delta(asked, 0), delta(asked, 1))
    async with open_hub() as hub:
        reader = Follower(hub, asked, position=have)
        await asyncio.sleep(0.1)
        await in_thread(write, delta(asked, 2), ending(asked))
        seen = await reader.finish()
    assert positions(seen) == list(range(have, 3))
    assert isinstance(seen[0], Started)
    assert isinstance(seen[-1], Result)


async def test_readers_that_join_at_any_moment_miss_nothing() -> None:
    """Caught once: a reader that joined during a read lost what lay before that read."""
    asked = running(new_request())
    async with open_hub() as hub:
        readers = []
        for position in range(150):
            await in_thread(write, delta(asked, position))
            if position % 5 == 0:
                readers.append(Follower(hub, asked))
        await in_thread(write, ending(asked))
        for reader in readers:
            assert positions(await reader.finish()) == list(range(150))


async def test_a_reader_that_comes_before_the_request_waits_and_learns_its_place() -> None:
    first, asked = new_request(), new_request()
    async with open_hub() as hub:
        reader = Follower(hub, asked)
        await asyncio.sleep(0.05)
        await in_thread(ledger.submit, first)
        await in_thread(lambda: ledger.submit(asked))
        await asyncio.sleep(1.3)
        await in_thread(is_claimed, first)
        await asyncio.sleep(1.2)
        await in_thread(is_claimed, asked)
        await in_thread(write, ending(asked))
        seen = await reader.finish()
    assert [item.position for item in seen if isinstance(item, QueuePosition)] == [2, 1]
    assert isinstance(seen[-1], Result)


async def test_tokens_that_are_there_together_come_as_one_event_to_who_wants_it() -> None:
    asked = running(new_request())
    write(*(delta(asked, position) for position in range(5)))
    async with open_hub() as hub:
        reader = Follower(hub, asked, position=2, joins=True)
        single = Follower(hub, asked, position=2)
        await asyncio.sleep(0.2)
        await in_thread(write, delta(asked, 5), ending(asked))
        seen = await reader.finish()
        one_by_one = [event for event in await single.finish() if isinstance(event, Delta)]
    assert [event.position for event in one_by_one] == [2, 3, 4, 5]
    tokens = [event for event in seen if isinstance(event, Delta)]
    assert [(event.position, len(event.token_ids)) for event in tokens] == [(2, 3), (5, 1)]
    assert tokens[0].text == "".join(delta(asked, position).text for position in (2, 3, 4))
    assert tokens[0].text_offset == delta(asked, 2).text_offset
    assert tokens[0].mono_ns == delta(asked, 4).mono_ns


@pytest.mark.parametrize("change", [{"attempt": 2}, {"position": 3}, {"text_offset": 9}])
async def test_tokens_that_do_not_continue_others_come_by_themselves(
    change: dict[str, int],
) -> None:
    asked = new_request()
    first, second = delta(asked, 0), delta(asked, 1)
    assert len(list(joined([first, second]))) == 1
    other = replace(second, **change)
    assert list(joined([first, other])) == [first, other]
    place = QueuePosition(asked.request_id, 1)
    assert list(joined([first, place, second])) == [first, place, second]


async def test_a_new_wish_does_not_wait_for_the_block_to_end() -> None:
    asked, other = running(new_request()), running(new_request())
    async with open_hub() as hub:
        first = Follower(hub, other)
        await asyncio.sleep(0.2)  # the hub now blocks for seconds
        reader = Follower(hub, asked)
        await asyncio.sleep(0.1)
        await in_thread(write, delta(asked, 0), ending(asked))
        assert positions(await reader.finish(timeout_s=1)) == [0]
        first.task.cancel()


async def test_readers_outlive_a_redis_that_goes_and_comes_back(live_redis: RedisServer) -> None:
    asked = running(new_request())
    async with open_hub() as hub:
        reader = Follower(hub, asked)
        await in_thread(write, delta(asked, 0))
        await asyncio.sleep(0.2)
        await in_thread(live_redis.stop)
        with pytest.raises(client.RedisUnavailable):
            await in_thread(client.submit, new_request())
        late = Follower(hub, asked)  # one that comes while it is away
        await asyncio.sleep(0.1)
        await in_thread(live_redis.start)
        await in_thread(write, delta(asked, 1), ending(asked))
        assert positions(await reader.finish()) == [0, 1]
        assert positions(await late.finish()) == [0, 1]


async def test_entries_that_cannot_be_read_are_passed_over_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Caught once: the last entry of a stream, if it was broken, was read again without end."""
    asked = running(new_request())
    write(delta(asked, 0))
    break_stream(asked)
    async with open_hub() as hub:
        reader = Follower(hub, asked)
        await asyncio.sleep(0.2)
        assert positions(reader.seen) == [0]
        assert len(caplog.messages) == len(BROKEN_ENTRIES)  # read by the reader itself
        await in_thread(write, delta(asked, 1))
        await in_thread(break_stream, asked)
        await asyncio.sleep(0.2)
        assert positions(reader.seen) == [0, 1]
        assert len(caplog.messages) == 2 * len(BROKEN_ENTRIES)  # read by the hub
        await in_thread(write, delta(asked, 2), ending(asked))
        assert positions(await reader.finish()) == [0, 1, 2]
    assert all(asked.request_id[:8] in line for line in caplog.messages)


async def test_a_reader_whose_request_redis_lost_is_let_go() -> None:
    asked = running(new_request())
    async with open_hub() as hub:
        reader = Follower(hub, asked)
        await asyncio.sleep(0.1)
        await in_thread(connect().flushdb)
        seen = await reader.finish(timeout_s=4)
    assert not any(isinstance(item, Result) for item in seen)


async def test_hundreds_of_readers_that_come_at_once_need_few_connections() -> None:
    asked = running(new_request())
    write(*(delta(asked, position) for position in range(20)))
    before = connect().info("clients")["connected_clients"]
    async with open_hub() as hub:
        readers = [Follower(hub, asked) for _ in range(300)]
        await asyncio.sleep(0.5)
        now = (await in_thread(connect().info, "clients"))["connected_clients"]
        await in_thread(write, delta(asked, 20), ending(asked))
        for reader in readers:
            assert positions(await reader.finish()) == list(range(21))
    assert now - before < 15


async def test_a_slow_reader_is_told_and_the_others_do_not_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_reader, "MAX_BEHIND", 20)
    asked = running(new_request())
    async with open_hub() as hub:
        slow = hub.follow(asked.request_id)
        await anext(slow)  # Started; then it stops reading
        first = asyncio.create_task(anext(slow))
        quick = Follower(hub, asked)
        await asyncio.sleep(0.1)
        for position in range(60):
            await in_thread(write, delta(asked, position))
        await first
        await in_thread(write, ending(asked))
        assert positions(await quick.finish()) == list(range(60))
        with pytest.raises(SlowReader):
            await anext(slow)


async def test_a_reader_may_come_late_to_a_stream_longer_than_its_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_reader, "MAX_BEHIND", 20)
    monkeypatch.setattr(hub_module, "PAGE", 7)
    asked = running(new_request())
    write(*(delta(asked, position) for position in range(100)), ending(asked))
    async with open_hub() as hub:
        assert positions(await Follower(hub, asked).finish()) == list(range(100))
