"""A worker is woken for what waits, whatever becomes of the wake-ups; people keep a place in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference import client
from inference.contract import PRIORITY_API, GenerationRequest
from inference.queue import broker
from inference.queue.connection import connect, settings
from tests.faults.conftest import Ask, recover_lost, transcript, until
from tests.support.redis import RedisServer
from tests.support.worker import MODEL, Worker

PLACES = 8
API_PLACES = 7


@pytest.fixture
def worker(redis_server: RedisServer, default_model_dir: Path, tmp_path: Path) -> Iterator[Worker]:
    """A worker of eight places, not started yet."""
    redis_server.start()
    made = Worker(tmp_path / "worker.log", concurrency=PLACES)
    yield made
    for live in client.live_requests():
        client.cancel(live.request_id)
    made.stop()


def has_ended(request: GenerationRequest) -> bool:
    return transcript(request).result is not None


def count_running() -> int:
    return sum(live.state == "running" for live in client.live_requests())


def api_wake_ups() -> int:
    return broker.count_wake_ups(MODEL, "api")


def ask_api(ask: Ask) -> GenerationRequest:
    """One that runs until it is cancelled."""
    return ask("Never end.", max_tokens=6000, source="api", priority=PRIORITY_API)


def test_all_that_waits_runs_although_every_wake_up_was_lost(worker: Worker, ask: Ask) -> None:
    waiting = [ask(f"Number {n}?", max_tokens=8) for n in range(20)]
    for key in connect().keys(f"{settings().prefix}:celery:model*"):
        connect().delete(key)
    worker.start().wait_ready()
    time.sleep(1)
    assert count_running() == 0, "nobody woke the worker"
    recover_lost()
    until(lambda: all(has_ended(request) for request in waiting), what="all answers")


def test_people_keep_a_place_beside_api_traffic_and_no_wake_up_goes_round(
    worker: Worker, ask: Ask, tmp_path: Path
) -> None:
    worker.start().wait_ready()
    traffic = [ask_api(ask) for _ in range(API_PLACES + 3)]
    until(lambda: count_running() == API_PLACES, what="API traffic in seven of eight places")
    until(lambda: api_wake_ups() == 3, what="three wake-ups are left for other workers")

    person = ask("Say hello.", max_tokens=4)
    took_s = until(lambda: has_ended(person), what="the person's answer")
    assert took_s < 5
    assert count_running() == API_PLACES

    received = worker.log.read_text().count("received")
    time.sleep(2)
    assert worker.log.read_text().count("received") == received, "wake-ups go round"
    assert api_wake_ups() == 3

    other = Worker(tmp_path / "other.log", name="slot2", concurrency=PLACES).start().wait_ready()
    try:
        until(lambda: count_running() == len(traffic), timeout_s=10, what="the other takes three")
    finally:
        for request in traffic:
            client.cancel(request.request_id)
        until(lambda: count_running() == 0, timeout_s=10, what="all are cancelled")
        other.stop()

    later = ask_api(ask)
    took_s = until(lambda: bool(transcript(later).token_ids), what="API traffic runs again")
    assert took_s < 5
