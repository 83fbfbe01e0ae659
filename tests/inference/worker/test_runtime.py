"""What becomes of requests in a worker whose engine ends, breaks, or has gone."""

from __future__ import annotations

from functools import partial

from inference import client
from inference.contract import PRIORITY_API
from inference.queue import broker, keys, records
from inference.queue.connection import connect, settings
from tests.inference.worker.conftest import Bench
from tests.support.redis import RedisServer
from tests.support.requests import lose_worker, positions, until


def wake_ups(model: str) -> tuple[int, int]:
    """On the model's queues of people and of API traffic."""
    return broker.count_wake_ups(model, "chat"), broker.count_wake_ups(model, "api")


def test_a_task_ends_when_the_terminal_entry_is_written(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0, 1, 2)
    assert task.is_alive()
    bench.engine.end(asked.request_id, completion_tokens=3)
    task.join(5)
    result = client.result(asked.request_id)
    assert result is not None
    assert result.finish_reason == "stop"
    assert connect().llen(f"{settings().prefix}:celery:web") == 1, "the site is told"


def test_wake_ups_too_many_do_nothing(bench: Bench) -> None:
    asked, task = bench.run()
    for extra in [bench.wake(source) for source in ("chat", "api") for _ in range(20)]:
        extra.join(5)
        assert not extra.is_alive()
    assert list(bench.engine.requests) == [asked.request_id]
    assert wake_ups(bench.model) == (0, 0)
    bench.engine.end(asked.request_id)
    task.join(5)
    assert not task.is_alive()


def test_one_wake_up_runs_all_that_waits_the_best_first(bench: Bench) -> None:
    second, third = bench.ask(), bench.ask(source="api", priority=PRIORITY_API)
    first = bench.ask(attempt=2)
    task = bench.wake()
    for asked in (first, second, third):
        until(partial(bench.runs_only, asked), what="the next")
        bench.engine.end(asked.request_id)
    task.join(5)
    assert not task.is_alive()
    assert all(client.result(asked.request_id) for asked in (first, second, third))


def test_a_wake_up_for_another_model_goes_back_to_that_models_queue(bench: Bench) -> None:
    bench.model = "another"
    asked = bench.ask(source="api")
    bench.wake("api").join(5)
    assert wake_ups("another") == (0, 1)
    entry = records.get(asked.request_id)
    assert entry is not None
    assert entry.state == "waiting"


def test_an_engine_whose_queue_is_full_ends_the_request_with_that_code(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.end(asked.request_id, finish_reason="failed", error_code="queue_full")
    task.join(5)
    result = client.result(asked.request_id)
    assert result is not None
    assert (result.finish_reason, result.error_code) == ("failed", "queue_full")


def test_what_runs_in_a_worker_that_leaves_waits_for_another_at_once(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0, 1)
    assert bench.runtime.stop()
    task.join(1)
    assert not task.is_alive()
    entry = records.get(asked.request_id)
    assert entry is not None
    assert (entry.state, entry.attempt, entry.losses) == ("waiting", 2, 0)
    assert entry.request.continue_from == (0, 1)
    assert wake_ups(bench.model) == (1, 0)


def test_a_broken_engine_gives_its_requests_back_and_counts_a_loss(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0)
    bench.engine.break_down()
    task.join(5)
    entry = records.get(asked.request_id)
    assert entry is not None
    assert (entry.state, entry.losses) == ("waiting", 1)


def test_the_queues_are_left_before_the_model_goes_and_joined_when_one_is_ready(
    bench: Bench,
) -> None:
    asked, task = bench.run()
    bench.runtime.unload()
    task.join(5)
    until(lambda: bench.runtime.model is None, what="no model")
    assert bench.membership.joined[-1] is None
    bench.wake().join(5)  # its wake-up comes here again: handed on
    assert wake_ups(bench.model) == (1, 0)
    bench.runtime.load(bench.model)
    until(lambda: bench.runtime.was_ready, what="the model again")
    assert bench.membership.joined[-1] == bench.model
    again = bench.wake()
    until(lambda: asked.request_id in bench.engine.requests, what="it is taken up")
    bench.engine.end(asked.request_id)
    again.join(5)
    assert client.result(asked.request_id) is not None


def test_nothing_more_is_taken_while_the_model_goes(bench: Bench) -> None:
    """A task whose answer ends meanwhile would hand the next one to an engine that stops."""
    asked, task = bench.run()
    waiting = bench.ask()
    bench.membership.on_leave = partial(bench.engine.end, asked.request_id)
    bench.runtime.unload()
    until(lambda: bench.runtime.model is None, what="no model")
    task.join(5)
    assert client.result(asked.request_id) is not None
    entry = records.get(waiting.request_id)
    assert entry is not None
    assert (entry.state, entry.attempt) == ("waiting", 1)


def test_a_refused_attempt_is_cancelled_in_the_engine(bench: Bench) -> None:
    asked, task = bench.run()
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    bench.engine.say(asked.request_id, 0)
    task.join(5)
    assert bench.engine.cancelled == [asked.request_id]
    assert positions(client.read(asked.request_id)) == []


def test_the_next_attempt_may_come_to_the_worker_that_lost_the_last(bench: Bench) -> None:
    """Caught once: the engine refused it as a double, and the older task waited for ever."""
    asked, first = bench.run()
    bench.engine.say(asked.request_id, 0)
    until(lambda: positions(client.read(asked.request_id)) == [0], what="a token")
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    second = bench.wake()
    first.join(5)
    assert not first.is_alive()
    until(lambda: asked.request_id in bench.engine.requests, what="it is taken up")
    bench.engine.say(asked.request_id, 1)
    bench.engine.end(asked.request_id, completion_tokens=2)
    second.join(5)
    assert positions(client.read(asked.request_id)) == [0, 1]
    assert client.result(asked.request_id) is not None


def test_tokens_made_while_redis_is_away_come_when_it_is_back(
    bench: Bench, live_redis: RedisServer
) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0, 1)
    live_redis.stop()
    bench.engine.say(asked.request_id, *range(2, 50))
    live_redis.start()
    bench.engine.say(asked.request_id, 50)
    bench.engine.end(asked.request_id, completion_tokens=51)
    task.join(10)
    assert positions(client.read(asked.request_id)) == list(range(51))
    assert client.result(asked.request_id) is not None


def test_tokens_that_redis_took_and_lost_are_written_again(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, *range(20))
    until(lambda: positions(client.read(asked.request_id)) == list(range(20)), what="20 tokens")
    stream = keys.stream(asked.request_id)
    for entry_id, _ in connect().xrevrange(stream, count=8):  # as after a power cut
        connect().xdel(stream, entry_id)
    connect().hset(keys.request(asked.request_id), "next", 12)
    bench.engine.say(asked.request_id, 20)
    bench.engine.end(asked.request_id, completion_tokens=21)
    task.join(5)
    assert positions(client.read(asked.request_id)) == list(range(21))
    assert client.result(asked.request_id) is not None


def test_a_request_that_redis_lost_wholly_ends_here_too(bench: Bench) -> None:
    asked, task = bench.run()
    connect().flushdb()
    bench.engine.say(asked.request_id, 0)
    task.join(5)
    assert not task.is_alive()
    assert bench.engine.cancelled == [asked.request_id]


def test_answers_are_given_up_when_redis_stays_away_too_long(
    bench: Bench, live_redis: RedisServer
) -> None:
    """Memory stays bounded; what the stream has is where another worker goes on."""
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0)
    until(lambda: positions(client.read(asked.request_id)) == [0], what="a token")
    bench.runtime._publisher._max_held = 100
    live_redis.stop()
    bench.engine.say(asked.request_id, *range(1, 300))
    until(lambda: bool(bench.engine.cancelled), what="given up")
    live_redis.start()
    task.join(5)
    assert not task.is_alive()
    assert bench.runtime.running.leased() == []
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    entry = records.get(asked.request_id)
    assert entry is not None
    assert entry.request.continue_from == (0,)
