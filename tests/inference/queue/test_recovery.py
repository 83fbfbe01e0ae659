"""Requests that lose their worker or wait too long, and wake-ups that get lost. Redis is real."""

from __future__ import annotations

import dataclasses
import time

import pytest

from inference import client
from inference.contract import Result
from inference.queue import broker, ledger, records, recovery
from inference.queue.connection import connect, settings
from tests.support.requests import (
    claim_next,
    delta,
    ending,
    is_claimed,
    lose_worker,
    new_request,
    running,
    write,
)

pytestmark = pytest.mark.usefixtures("live_redis")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Redis had been up for long."""
    monkeypatch.setattr(records, "is_settled", lambda: True)


@pytest.mark.usefixtures("settled")
def test_a_running_request_without_a_lease_is_lost() -> None:
    healthy, lost = running(new_request()), running(new_request())
    lose_worker(lost)
    assert client.lost_requests() == [lost.request_id]
    assert client.resubmit(lost.request_id)
    assert client.lost_requests() == []
    assert {r.request_id: r.state for r in client.live_requests()} == {
        healthy.request_id: "running",
        lost.request_id: "waiting",
    }


def test_just_after_a_start_of_redis_nobody_is_taken_for_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose_worker(running(new_request()))
    monkeypatch.setattr(records, "is_settled", lambda: False)
    assert client.lost_requests() == []


def test_a_request_that_keeps_killing_its_worker_ends_as_interrupted() -> None:
    asked = running(new_request())
    write(delta(asked, 0))
    tries = 1
    lose_worker(asked)
    while client.resubmit(asked.request_id):
        tries += 1
        entry = records.get(asked.request_id)
        assert entry is not None
        assert is_claimed(entry.request, f"w{tries}")
        lose_worker(asked)
    assert tries == 1 + settings().max_losses
    assert client.interrupt(asked.request_id)
    result = client.result(asked.request_id)
    assert result is not None
    assert (result.finish_reason, result.error_code) == ("interrupted", "worker_lost")
    assert result.completion_tokens == 1
    assert client.unstored_results() == [asked.request_id]


def test_a_worker_that_stops_in_order_costs_its_requests_nothing() -> None:
    asked = running(new_request())
    for attempt in range(1, 6):
        reason = ending(asked, attempt=attempt, error_code="engine_stopped")
        assert not recovery.requeue(asked.request_id, attempt, is_lost=False, reason=reason)
        entry = records.get(asked.request_id)
        assert entry is not None
        assert (entry.state, entry.attempt, entry.losses) == ("waiting", attempt + 1, 0)
        assert is_claimed(entry.request)


def test_an_engine_that_breaks_too_often_ends_the_request_with_its_reason() -> None:
    asked = running(new_request())
    for attempt in range(1, settings().max_losses + 2):
        reason = ending(asked, attempt=attempt, error_code="engine_failed", error_text="Out.")
        ended = recovery.requeue(asked.request_id, attempt, is_lost=True, reason=reason)
        if not ended:
            entry = records.get(asked.request_id)
            assert entry is not None
            assert is_claimed(entry.request)
    assert ended
    result = client.result(asked.request_id)
    assert result is not None
    assert (result.finish_reason, result.error_code) == ("interrupted", "engine_failed")


def test_a_cancelled_request_whose_worker_dies_is_not_tried_again() -> None:
    asked = running(new_request())
    assert client.cancel(asked.request_id)
    lose_worker(asked)
    assert not client.resubmit(asked.request_id)
    assert client.interrupt(asked.request_id)
    result = client.result(asked.request_id)
    assert result is not None
    assert result.finish_reason == "cancelled"


def test_a_request_nobody_takes_up_expires() -> None:
    asked = new_request(expires_s=-1.0)
    ledger.submit(asked)
    assert claim_next() is None
    client.look()
    (result,) = client.read(asked.request_id)
    assert isinstance(result, Result)
    assert (result.finish_reason, result.error_code) == ("failed", "expired")


def test_wake_ups_that_were_lost_are_sent_again_as_many_as_requests_wait() -> None:
    for source in ("chat", "api", "api"):
        client.submit(new_request(source=source))
    assert wake_ups() == (1, 2)
    for key in connect().keys(f"{settings().prefix}:celery:model*"):
        connect().delete(key)  # a worker took them and died
    assert wake_ups() == (0, 0)
    for _ in range(3):
        client.look()
        assert wake_ups() == (1, 2)


def test_a_long_queue_gets_no_wake_up_too_many() -> None:
    """Busy workers take requests without wake-ups; those must not grow in number meanwhile."""
    for _ in range(30):
        client.submit(new_request())
    client.look()
    assert wake_ups() == (30, 0)
    for _ in range(30):
        assert claim_next() is not None
        client.submit(new_request())
    client.look()
    assert wake_ups() == (30, 0)


def wake_ups() -> tuple[int, int]:
    """On the model's queues of people and of API traffic."""
    return broker.count_wake_ups("m", "chat"), broker.count_wake_ups("m", "api")


def test_a_request_taken_up_while_it_expires_is_not_ended() -> None:
    asked = new_request(expires_s=0.05)
    ledger.submit(asked)
    waiting = [record for record, _ in records.live()]
    assert is_claimed(asked)
    time.sleep(0.1)
    recovery.end_expired(waiting)
    assert client.result(asked.request_id) is None


def test_one_look_shows_what_is_under_way_and_reads_no_prompt() -> None:
    asked = running(new_request())
    waiting = new_request(prompt_token_ids=tuple(range(4000)))
    client.submit(waiting)
    seen = {one.request_id: one.state for one in client.look().live}
    assert seen == {asked.request_id: "running", waiting.request_id: "waiting"}
    before = connect().info("stats")["total_net_output_bytes"]
    client.look()
    assert connect().info("stats")["total_net_output_bytes"] - before < 6000


def test_a_lost_request_that_no_other_worker_takes_over_ends_as_interrupted_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasty = dataclasses.replace(ledger.settings(), recover_within_s=1.0, lease_s=1.0)
    monkeypatch.setattr(ledger, "settings", lambda: hasty)
    asked = running(new_request())
    write(delta(asked, 0))
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    client.lost_requests()
    assert not any(isinstance(e, Result) for e in client.read(asked.request_id))
    time.sleep(1.1)
    client.lost_requests()
    *_, last = client.read(asked.request_id)
    assert isinstance(last, Result)
    assert (last.finish_reason, last.error_code) == ("interrupted", "worker_lost")
    assert last.completion_tokens == 1
