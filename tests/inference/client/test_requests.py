"""What the site may call, and how it fails. Redis is real."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from inference import client
from inference.client import requests as requests_module
from inference.contract import SamplingParams
from inference.queue import broker, keys, ledger, records
from inference.queue import connection as settings_module
from inference.queue.connection import connect
from tests.support.redis import RedisServer
from tests.support.requests import delta, ending, is_claimed, new_request, positions, running, write

pytestmark = pytest.mark.usefixtures("live_redis")


def test_a_submitted_request_waits_and_a_wake_up_is_on_its_models_queue() -> None:
    asked = new_request()
    client.submit(asked)
    client.submit(asked)
    assert broker.count_wake_ups("m", "chat") == 1
    assert broker.count_wake_ups("m", "api") == 0
    assert client.queue_position("m", asked.request_id) == 1
    entry = records.get(asked.request_id)
    assert entry is not None
    assert entry.request.submitted is not None


def test_a_request_without_a_seed_is_refused_because_it_could_not_be_resumed() -> None:
    with pytest.raises(ValueError, match="seed"):
        client.submit(new_request(sampling=SamplingParams(seed=None)))
    assert client.live_requests() == []


def test_a_full_queue_is_refused_with_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSITE_MAX_WAITING", "1")
    few = settings_module.QueueSettings.from_env()
    monkeypatch.setattr(ledger, "settings", lambda: few)
    client.submit(new_request())
    with pytest.raises(client.QueueFull) as refusal:
        client.submit(new_request())
    assert refusal.value.code == "queue_full"


def test_api_traffic_leaves_an_eighth_of_the_queue_to_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATSITE_MAX_WAITING", "8")
    few = settings_module.QueueSettings.from_env()
    for module in (ledger, requests_module):
        monkeypatch.setattr(module, "settings", lambda: few)
    for _ in range(7):
        client.submit(new_request(source="api"))
    with pytest.raises(client.QueueFull, match="7 requests"):
        client.submit(new_request(source="api"))
    client.submit(new_request())
    with pytest.raises(client.QueueFull, match="8 requests"):
        client.submit(new_request())


def test_a_submit_that_cannot_wake_a_worker_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("gone between two calls")

    monkeypatch.setattr(broker, "send_wake_up", fail)
    asked = new_request()
    with pytest.raises(client.RedisUnavailable):
        client.submit(asked)
    assert not client.is_known(asked.request_id)
    assert client.live_requests() == []


def test_a_submit_that_cannot_wake_a_worker_succeeds_if_a_busy_one_has_taken_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = new_request()

    def take_then_fail(*_: object) -> None:
        assert is_claimed(asked)
        raise ConnectionError("gone between two calls")

    monkeypatch.setattr(broker, "send_wake_up", take_then_fail)
    client.submit(asked)
    assert [one.state for one in client.live_requests()] == ["running"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: client.submit(new_request()),
        lambda: client.read("0" * 32),
        lambda: client.cancel("0" * 32),
        lambda: client.lost_requests(),
        lambda: client.workers(),
        lambda: client.unload_model("w@test"),
    ],
    ids=["submit", "read", "cancel", "lost_requests", "workers", "unload_model"],
)
def test_an_absent_redis_is_named_at_once(live_redis: RedisServer, call: Callable[[], Any]) -> None:
    live_redis.stop()
    start = time.monotonic()
    with pytest.raises(client.RedisUnavailable):
        call()
    assert time.monotonic() - start < 2.5


def test_a_redis_that_hangs_is_given_up_after_two_seconds(live_redis: RedisServer) -> None:
    live_redis.pause()
    try:
        start = time.monotonic()
        with pytest.raises(client.RedisUnavailable):
            client.submit(new_request())
        assert time.monotonic() - start < 3.5
    finally:
        live_redis.resume()


def test_the_first_submit_after_a_restart_of_redis_succeeds(live_redis: RedisServer) -> None:
    client.submit(new_request())
    live_redis.stop()
    live_redis.start()
    asked = new_request()
    client.submit(asked)
    assert client.is_known(asked.request_id)
    assert broker.count_wake_ups("m", "chat") >= 1


def test_what_runs_and_waits_is_told_with_its_tokens() -> None:
    asked = running(new_request())
    write(delta(asked, 0), delta(asked, 1))
    waiting = new_request()
    client.submit(waiting)
    told = {one.request_id: one for one in client.live_requests()}
    assert (told[asked.request_id].state, told[asked.request_id].tokens) == ("running", 2)
    assert told[asked.request_id].is_leased
    assert told[waiting.request_id].state == "waiting"


def test_a_stream_is_read_on_from_where_it_was() -> None:
    asked = running(new_request())
    write(delta(asked, 0), delta(asked, 1))
    first, position = client.read_after(asked.request_id)
    assert positions(first) == [0, 1]
    assert client.read_after(asked.request_id, position) == ([], position)
    write(delta(asked, 2), ending(asked))
    more, last = client.read_after(asked.request_id, position)
    assert more == [delta(asked, 2), ending(asked)]
    assert client.read_after(asked.request_id, last) == ([], last)
    assert first + more == client.read(asked.request_id)


def test_a_result_is_there_when_the_request_has_ended() -> None:
    asked = running(new_request())
    assert client.result(asked.request_id) is None
    write(ending(asked))
    assert client.result(asked.request_id) == ending(asked)
    with pytest.raises(client.NoSuchRequest):
        client.result("0" * 32)


def test_a_running_request_is_cancelled_through_its_worker() -> None:
    asked = running(new_request())
    assert client.cancel(asked.request_id)
    assert connect().lrange(keys.cancellations("w1"), 0, -1) == [asked.request_id.encode()]
    assert not client.cancel("0" * 32)


def test_only_one_process_has_the_lock() -> None:
    with client.one_at_a_time("look", seconds=5) as mine:
        assert mine
        with client.one_at_a_time("look", seconds=5) as also_mine:
            assert not also_mine
    with client.one_at_a_time("look", seconds=5) as mine_again:
        assert mine_again


def test_a_worker_that_is_not_there_is_silent() -> None:
    with pytest.raises(client.WorkerSilent):
        client.load_model("nobody@test", "some-model")


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(client.ModelUnknown):
        client.fit("no-such-model", [{"role": "user", "content": "Hi"}], max_tokens=5)
    assert client.context_length("no-such-model") is None
