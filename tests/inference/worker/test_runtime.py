"""What becomes of requests in a worker whose engine ends, breaks, or has gone."""

from __future__ import annotations

from inference import client
from inference.queue import broker, keys, ledger
from inference.queue.connection import connect
from tests.inference.worker.conftest import Bench
from tests.support.redis import RedisServer
from tests.support.requests import lose_worker, positions, until


def test_a_task_ends_when_the_terminal_entry_is_written(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0, 1, 2)
    assert task.is_alive()
    bench.engine.end(asked.request_id, completion_tokens=3)
    task.join(5)
    result = client.result(asked.request_id)
    assert result is not None
    assert result.finish_reason == "stop"
    assert connect().llen(f"{ledger.settings().prefix}:celery:web") == 1, "the site is told"


def test_a_doubled_a_late_and_an_unknown_task_do_nothing(bench: Bench) -> None:
    asked, task = bench.run()
    for request_id, attempt in ((asked.request_id, 1), (asked.request_id, 7), ("f" * 32, 1)):
        bench.slot.run(request_id, attempt)
    assert list(bench.engine.requests) == [asked.request_id]
    bench.engine.end(asked.request_id)
    task.join(5)


def test_a_task_for_another_model_goes_back_to_that_models_queue(bench: Bench) -> None:
    bench.model = "another"
    asked = bench.ask()
    bench.slot.run(asked.request_id, 1)
    assert broker.queued_requests("another") == {asked.request_id}
    entry = ledger.look(asked.request_id)
    assert entry is not None
    assert entry.state == "waiting"


def test_an_engine_whose_line_is_full_ends_the_request_with_that_code(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.end(asked.request_id, finish_reason="failed", error_code="queue_full")
    task.join(5)
    result = client.result(asked.request_id)
    assert result is not None
    assert (result.finish_reason, result.error_code) == ("failed", "queue_full")


def test_what_runs_in_a_worker_that_leaves_waits_for_another_at_once(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0, 1)
    assert bench.slot.stop()
    task.join(1)
    assert not task.is_alive()
    entry = ledger.look(asked.request_id)
    assert entry is not None
    assert (entry.state, entry.attempt, entry.losses) == ("waiting", 2, 0)
    assert entry.request.continue_from == (0, 1)
    assert broker.queued_requests(bench.model) == {asked.request_id}


def test_a_broken_engine_gives_its_requests_back_and_counts_a_loss(bench: Bench) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0)
    bench.engine.break_down()
    task.join(5)
    entry = ledger.look(asked.request_id)
    assert entry is not None
    assert (entry.state, entry.losses) == ("waiting", 1)


def test_another_model_takes_the_place_and_the_queue_follows(bench: Bench) -> None:
    asked, task = bench.run()
    bench.slot.unload()
    task.join(5)
    until(lambda: bench.slot.model is None, what="no model")
    assert bench.line.joined[-1] is None
    bench.slot.run(asked.request_id, 2)  # its task comes here again: passed on
    bench.slot.load(bench.model)
    until(lambda: bench.slot.was_ready, what="the model again")
    assert bench.line.joined[-1] == broker.queue_of(bench.model)
    again = bench.take(asked, attempt=2)
    until(lambda: asked.request_id in bench.engine.requests, what="it is taken up")
    bench.engine.end(asked.request_id)
    again.join(5)
    assert client.result(asked.request_id) is not None


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
    second = bench.take(asked, attempt=2)
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
    bench.slot._publisher._max_held = 100
    live_redis.stop()
    bench.engine.say(asked.request_id, *range(1, 300))
    until(lambda: bool(bench.engine.cancelled), what="given up")
    live_redis.start()
    task.join(5)
    assert not task.is_alive()
    assert bench.slot.leased() == []
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    entry = ledger.look(asked.request_id)
    assert entry is not None
    assert entry.request.continue_from == (0,)
