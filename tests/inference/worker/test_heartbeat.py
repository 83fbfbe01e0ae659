"""Leases, snapshots, and the end of a process whose engine is dead or stuck."""

from __future__ import annotations

import time

import pytest

from inference import client
from inference.contract import EngineStats
from inference.queue import keys, records
from inference.queue.connection import connect
from inference.worker import heartbeat as heartbeat_module
from inference.worker.heartbeat import EXIT_ENGINE_DEAD, Heartbeat
from tests.inference.worker.conftest import Bench
from tests.support.requests import until


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Statuses the process would have ended with."""
    monkeypatch.setattr(heartbeat_module, "INTERVAL_S", 0.05)
    monkeypatch.setattr(heartbeat_module, "LAST_WORDS_S", 0.3)
    return []


@pytest.fixture
def heartbeat(bench: Bench, exits: list[int]) -> Heartbeat:
    made = Heartbeat(bench.runtime, end_process=exits.append)
    made.start()
    return made


def test_a_lease_is_renewed_while_the_engine_steps(
    bench: Bench, heartbeat: Heartbeat, exits: list[int]
) -> None:
    asked, _ = bench.run()
    lease = keys.lease(asked.request_id)
    connect().pexpire(lease, 400)
    for position in range(8):
        bench.engine.say(asked.request_id, position)
        time.sleep(0.1)
    assert connect().pttl(lease) > 1000
    assert exits == []
    heartbeat.stop()


def test_a_stuck_engine_ends_the_process_and_its_requests_wait_for_another(
    bench: Bench, heartbeat: Heartbeat, exits: list[int]
) -> None:
    asked, task = bench.run()
    bench.engine.say(asked.request_id, 0)
    until(lambda: exits == [EXIT_ENGINE_DEAD], timeout_s=5, what="the process ends")
    task.join(2)
    entry = records.get(asked.request_id)
    assert entry is not None
    assert (entry.state, entry.losses) == ("waiting", 1)
    assert entry.request.continue_from == (0,)


def test_loading_for_long_is_no_stall(bench: Bench, heartbeat: Heartbeat, exits: list[int]) -> None:
    bench.engine.state = EngineStats(state="loading", state_detail="62 %")
    time.sleep(0.8)
    assert exits == []
    (snapshot,) = client.workers()
    assert (snapshot.engine.state, snapshot.engine.state_detail) == ("loading", "62 %")
    heartbeat.stop()
    assert client.workers() == []


def test_a_worker_that_leaves_in_order_does_not_die_of_it(
    bench: Bench, heartbeat: Heartbeat, exits: list[int]
) -> None:
    bench.run()
    assert bench.runtime.stop()
    time.sleep(0.5)
    assert exits == []
    heartbeat.stop()


def test_a_dead_engine_ends_the_process(
    bench: Bench, heartbeat: Heartbeat, exits: list[int]
) -> None:
    bench.engine.break_down()
    until(lambda: exits == [EXIT_ENGINE_DEAD], timeout_s=5, what="the process ends")


def test_a_model_that_cannot_be_loaded_is_shown_and_the_worker_stays(
    bench: Bench, heartbeat: Heartbeat, exits: list[int]
) -> None:
    bench.runtime.was_ready = False
    bench.engine.state = EngineStats(state="failed", state_detail="Out of memory.")
    until(lambda: [s.engine.state for s in client.workers()] == ["failed"], what="its snapshot")
    assert exits == []
    heartbeat.stop()


def test_a_cancellation_that_got_lost_is_seen_at_the_next_heartbeat(
    bench: Bench, heartbeat: Heartbeat
) -> None:
    asked, task = bench.run()
    assert client.cancel(asked.request_id)
    connect().delete(keys.cancellations("w@test"))
    task.join(3)
    result = client.result(asked.request_id)
    assert result is not None
    assert result.finish_reason == "cancelled"
    heartbeat.stop()
