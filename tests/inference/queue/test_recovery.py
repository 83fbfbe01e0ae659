"""Requests that lose their worker, wait too long or fall out of their queue. Redis is real."""

from __future__ import annotations

import dataclasses
import time

import pytest

from inference import client
from inference.contract import Result
from inference.queue import broker, keys, ledger
from inference.queue import recovery as rescue
from inference.queue.connection import connect, settings
from tests.support.requests import (
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
    monkeypatch.setattr(ledger, "is_settled", lambda: True)


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
    monkeypatch.setattr(ledger, "is_settled", lambda: False)
    assert client.lost_requests() == []


def test_a_request_that_keeps_killing_its_worker_ends_as_interrupted() -> None:
    asked = running(new_request())
    write(delta(asked, 0))
    tries = 1
    lose_worker(asked)
    while client.resubmit(asked.request_id):
        tries += 1
        entry = ledger.look(asked.request_id)
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
        assert not rescue.give_back(asked.request_id, attempt, is_lost=False, reason=reason)
        entry = ledger.look(asked.request_id)
        assert entry is not None
        assert (entry.state, entry.attempt, entry.losses) == ("waiting", attempt + 1, 0)
        assert is_claimed(entry.request)


def test_an_engine_that_breaks_too_often_ends_the_request_with_its_reason() -> None:
    asked = running(new_request())
    for attempt in range(1, settings().max_losses + 2):
        reason = ending(asked, attempt=attempt, error_code="engine_failed", error_text="Out.")
        ended = rescue.give_back(asked.request_id, attempt, is_lost=True, reason=reason)
        if not ended:
            entry = ledger.look(asked.request_id)
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
    assert ledger.claim(asked.request_id, 1, worker="w", model="m").outcome == "expired"
    client.lost_requests()
    (result,) = client.read(asked.request_id)
    assert isinstance(result, Result)
    assert (result.finish_reason, result.error_code) == ("failed", "expired")


def test_a_waiting_request_whose_task_was_lost_is_sent_again_once() -> None:
    asked = new_request()
    client.submit(asked)
    assert broker.queued_requests("m") == {asked.request_id}
    for key in connect().keys(f"{settings().prefix}:celery:model.m*"):
        connect().delete(key)  # a worker took it and died
    client.lost_requests()
    assert broker.queued_requests("m") == set()  # it may be on its way still
    connect().hset(keys.request(asked.request_id), "sent_ms", 0)
    client.lost_requests()
    client.lost_requests()
    assert broker.queued_requests("m") == {asked.request_id}
    lists = connect().keys(f"{settings().prefix}:celery:model.m*")
    assert sum(connect().llen(key) for key in lists) == 1


def test_a_long_line_is_not_sent_again_and_again() -> None:
    for _ in range(30):
        client.submit(new_request())
    for entry, _ in ledger.live():
        connect().hset(keys.request(entry.request_id), "sent_ms", 0)
    client.lost_requests()
    lists = connect().keys(f"{settings().prefix}:celery:model.m*")
    assert sum(connect().llen(key) for key in lists) == 30


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
