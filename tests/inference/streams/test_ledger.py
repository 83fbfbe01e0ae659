"""Moves of a request in the ledger, against a real Redis."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid

import pytest

from inference import client
from inference.contract import Delta, GenerationRequest, Result, SamplingParams, Stamp, Started
from inference.streams import ledger
from inference.streams.hub import Place, StreamHub
from tests.support.redis import RedisServer

pytestmark = pytest.mark.usefixtures("live_redis")


def request(**changes: object) -> GenerationRequest:
    made = GenerationRequest(
        request_id=uuid.uuid4().hex,
        model="m",
        prompt_token_ids=(1, 2, 3),
        sampling=SamplingParams(seed=1),
        received=Stamp.now(),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def delta(asked: GenerationRequest, position: int, *, attempt: int = 1) -> Delta:
    return Delta(
        request_id=asked.request_id, attempt=attempt, position=position, token_ids=(position,),
        text=str(position), text_offset=position, mono_ns=position,
    )  # fmt: skip


def end(asked: GenerationRequest, *, attempt: int = 1) -> Result:
    return Result(request_id=asked.request_id, attempt=attempt, finish_reason="stop")


def running(asked: GenerationRequest) -> GenerationRequest:
    assert ledger.submit(asked) == "ok" and ledger.claim(asked, "w1")
    return asked


def lose(asked: GenerationRequest) -> None:
    ledger.hand_back([asked.request_id])


def test_a_request_is_claimed_once_whoever_comes_with_its_task() -> None:
    asked = request()
    assert ledger.submit(asked) == "ok"
    assert ledger.submit(asked) == "duplicate"
    assert ledger.claim(asked, "w1")
    assert not ledger.claim(asked, "w2")


def test_the_line_keeps_its_order_and_people_come_before_batches() -> None:
    batch, first, second = request(priority=10), request(), request()
    for asked in (batch, first, second):
        ledger.submit(asked)
    places = [ledger.place("m", r.request_id) for r in (first, second, batch)]
    assert places == [1, 2, 3]
    ledger.claim(first, "w1")
    assert ledger.place("m", second.request_id) == 1
    assert ledger.place("m", first.request_id) is None


def test_a_full_line_refuses_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(ledger.settings(), max_waiting=2)
    monkeypatch.setattr(ledger, "settings", lambda: few)
    kept = [request(), request()]
    assert [ledger.submit(r) for r in kept] == ["ok", "ok"]
    refused = request()
    assert ledger.submit(refused) == "full"
    assert ledger.look(refused.request_id) is None


def test_an_older_attempt_writes_nothing_after_a_resubmission() -> None:
    asked = running(request())
    assert ledger.append([delta(asked, 0)], models={}) == []
    lose(asked)
    assert client.resubmit(asked.request_id)
    late = [delta(asked, 1), end(asked)]
    assert ledger.append(late, models={asked.request_id: "m"}) == late
    entry = ledger.look(asked.request_id)
    assert entry is not None and (entry.state, entry.attempt) == ("waiting", 2)
    assert entry.request.continue_from == (0,)


def test_a_resubmitted_answer_goes_on_from_its_last_token() -> None:
    asked = running(request(continue_from=(7,)))
    events = [delta(asked, position) for position in (1, 2)]
    ledger.append(events, models={})
    lose(asked)
    assert client.lost_requests() in ([], [asked.request_id])  # not settled just after a start
    assert client.resubmit(asked.request_id)
    again = ledger.look(asked.request_id)
    assert again is not None and again.request.continue_from == (7, 1, 2)
    assert ledger.claim(again.request, "w2")
    ledger.append([delta(asked, 3, attempt=2), end(asked, attempt=2)], models={})
    kinds = [type(e).__name__ for e in client.read(asked.request_id)]
    assert kinds == ["Started", "Delta", "Delta", "Started", "Delta", "Result"]


def test_a_request_under_a_lease_is_not_resubmitted() -> None:
    asked = running(request())
    assert not client.resubmit(asked.request_id)


def test_a_request_that_keeps_killing_its_worker_ends_as_interrupted() -> None:
    asked = running(request())
    tries = 1
    lose(asked)
    while client.resubmit(asked.request_id):
        tries += 1
        entry = ledger.look(asked.request_id)
        assert entry is not None and ledger.claim(entry.request, f"w{tries}")
        lose(asked)
    assert tries == ledger.settings().max_attempts
    assert client.interrupt(asked.request_id)
    *_, last = client.read(asked.request_id)
    assert isinstance(last, Result) and last.finish_reason == "interrupted"
    assert client.unstored_results() == [asked.request_id]


def test_cancelling_a_waiting_request_ends_it_and_its_task_finds_nothing() -> None:
    asked = request()
    ledger.submit(asked)
    assert client.cancel(asked.request_id)
    assert not ledger.claim(asked, "w1")
    (result,) = client.read(asked.request_id)
    assert isinstance(result, Result) and result.finish_reason == "cancelled"
    assert not client.cancel(asked.request_id)


def test_a_cancelled_request_whose_worker_dies_is_not_tried_again() -> None:
    asked = running(request())
    assert client.cancel(asked.request_id)
    lose(asked)
    assert not client.resubmit(asked.request_id)
    assert client.interrupt(asked.request_id)
    *_, last = client.read(asked.request_id)
    assert isinstance(last, Result) and last.finish_reason == "cancelled"


def test_a_request_nobody_takes_up_expires() -> None:
    asked = request(expires_s=-1.0)
    ledger.submit(asked)
    client.lost_requests()
    (result,) = client.read(asked.request_id)
    assert isinstance(result, Result)
    assert (result.finish_reason, result.error_code) == ("failed", "expired")


def test_exactly_one_terminal_entry_is_written() -> None:
    asked = running(request())
    assert ledger.append([end(asked), end(asked)], models={}) == [end(asked)]
    assert not client.interrupt(asked.request_id)
    assert sum(isinstance(e, Result) for e in client.read(asked.request_id)) == 1


@pytest.mark.parametrize("have", [0, 1, 2, 3])
def test_a_reader_gets_what_it_has_not_whenever_it_comes(have: int) -> None:
    asked = running(request())
    ledger.append([delta(asked, 0), delta(asked, 1)], models={})

    async def follow() -> list[object]:
        hub = StreamHub()
        seen: list[object] = []

        async def read() -> None:
            async for event in hub.follow(asked.request_id, position=have):
                seen.append(event)

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(
            ledger.append, [delta(asked, 2), end(asked)], models={asked.request_id: "m"}
        )
        await asyncio.wait_for(reader, 5)
        await hub.close()
        return seen

    seen = asyncio.run(follow())
    positions = [event.position for event in seen if isinstance(event, Delta)]
    assert positions == list(range(have, 3))
    assert isinstance(seen[0], Started) and isinstance(seen[-1], Result)


def test_a_reader_that_comes_before_the_request_waits_and_learns_its_place() -> None:
    first, asked = request(), request()

    async def follow() -> list[object]:
        hub = StreamHub()
        seen: list[object] = []

        async def read() -> None:
            async for event in hub.follow(asked.request_id):
                seen.append(event)

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        for one in (first, asked):
            await asyncio.to_thread(ledger.submit, one)
        await asyncio.sleep(1.3)
        await asyncio.to_thread(ledger.claim, asked, "w1")
        await asyncio.to_thread(ledger.append, [end(asked)], models={})
        await asyncio.wait_for(reader, 5)
        await hub.close()
        return seen

    seen = asyncio.run(follow())
    assert Place(asked.request_id, 2) in seen


def test_readers_outlive_a_redis_that_goes_and_comes_back(live_redis: RedisServer) -> None:
    asked = running(request())

    async def follow() -> list[object]:
        hub = StreamHub()
        seen: list[object] = []

        async def read() -> None:
            async for event in hub.follow(asked.request_id):
                seen.append(event)

        reader = asyncio.create_task(read())
        await asyncio.to_thread(ledger.append, [delta(asked, 0)], models={})
        await asyncio.sleep(0.2)
        await asyncio.to_thread(live_redis.stop)
        with pytest.raises(client.RedisUnavailable):
            await asyncio.to_thread(client.submit, request())
        await asyncio.to_thread(live_redis.start)
        await asyncio.to_thread(
            ledger.append, [delta(asked, 1), end(asked)], models={asked.request_id: "m"}
        )
        await asyncio.wait_for(reader, 10)
        await hub.close()
        return seen

    seen = asyncio.run(follow())
    assert [e.position for e in seen if isinstance(e, Delta)] == [0, 1]
