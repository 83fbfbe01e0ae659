"""What a load balancer and a person who looks after the site are told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection
from django.test import Client

from inference.contract import EngineStats, WorkerSnapshot, WorkerState
from inference.queue import worker_snapshots as snapshots
from tests.support.redis import RedisServer


def worker_that_is(state: str) -> WorkerSnapshot:
    """What a worker tells once a second."""
    now_us = time.time_ns() // 1000
    return WorkerSnapshot(
        worker="slot1@here",
        host="here",
        pid=1,
        started_us=now_us,
        seen_us=now_us,
        model="m",
        engine=EngineStats(state=WorkerState(state)),
    )


@pytest.fixture
def worker(live_redis: RedisServer) -> Iterator[None]:
    """One with a loaded model."""
    snapshots.publish(worker_that_is("ready"))
    yield
    live_redis.start()
    snapshots.remove("slot1@here")


def missing(client: Client) -> list[str]:
    answer = client.get("/readyz")
    said = answer.json()
    assert answer.status_code == (503 if said["missing"] else 200)
    return said["missing"]


def test_a_site_with_all_its_parts_is_ready(client: Client, db: None, worker: object) -> None:
    assert missing(client) == []


def test_without_a_worker_it_says_so(client: Client, db: None, live_redis: RedisServer) -> None:
    assert missing(client) == ["worker"]
    snapshots.publish(worker_that_is("loading"))
    assert missing(client) == ["worker"]
    assert client.get("/readyz").json()["checks"]["worker"] == "loading"


def test_without_redis_it_says_so(
    client: Client, db: None, worker: object, live_redis: RedisServer
) -> None:
    live_redis.stop()
    assert missing(client) == ["redis", "worker"]


def test_without_a_database_it_says_so(
    client: Client, db: None, worker: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_cursor() -> None:
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", no_cursor)
        assert missing(client) == ["database"]


def test_a_process_that_lives_says_so_without_any_of_them(
    client: Client, live_redis: RedisServer
) -> None:
    live_redis.stop()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    live_redis.start()
