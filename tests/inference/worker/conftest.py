"""A worker whose engine a test steps by hand, over a real Redis."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from inference.contract import GenerationRequest, Source
from inference.queue import ledger
from inference.worker.reserved_capacity import ReservedCapacity
from inference.worker.runtime import WorkerRuntime
from inference.worker.worker_config import WorkerSettings
from tests.support.engine import HandEngine
from tests.support.redis import RedisServer
from tests.support.requests import new_request, until


@dataclass
class Membership:
    """Notes which models' queues the worker joined; None for leaving."""

    joined: list[str | None] = field(default_factory=list)
    on_leave: Callable[[], None] = lambda: None

    def join(self, model: str) -> None:
        self.joined.append(model)

    def leave(self) -> None:
        self.joined.append(None)
        self.on_leave()


class Bench:
    """A worker of eight places and its tasks."""

    def __init__(self, model: str) -> None:
        self.membership = Membership()
        self.capacity = ReservedCapacity(8)
        self.engines: list[HandEngine] = []
        self.runtime = WorkerRuntime(
            WorkerSettings(model=model, stall_s=0.3),
            worker="w@test",
            membership=self.membership,
            capacity=self.capacity,
            make_engine=self._make,
        )
        self.model = model
        self.runtime.start()
        until(lambda: bool(self.membership.joined), what="the queue joined")

    def _make(self, config: Any, emit: Any) -> HandEngine:
        self.engines.append(HandEngine(config, emit))
        return self.engines[-1]

    @property
    def engine(self) -> HandEngine:
        return self.engines[-1]

    def ask(self, **changes: Any) -> GenerationRequest:
        """A request that waits; `wake` lets a worker take it."""
        asked = new_request(model=self.model, **changes)
        assert ledger.submit(asked) == "ok"
        return asked

    def wake(self, source: Source = "chat", *, model: str = "") -> threading.Thread:
        """A task, in a thread of its own as in the pool."""
        task = threading.Thread(
            target=self.runtime.serve,
            args=(model or self.model, source),
            kwargs={"task_id": uuid.uuid4().hex},
            daemon=True,
        )
        task.start()
        return task

    def run(self, **changes: Any) -> tuple[GenerationRequest, threading.Thread]:
        """A request that the engine has."""
        asked = self.ask(**changes)
        task = self.wake(asked.source)
        until(lambda: asked.request_id in self.engine.requests, what="the engine has it")
        return asked, task

    def runs(self, asked: GenerationRequest) -> bool:
        return asked.request_id in self.engine.requests

    def runs_only(self, asked: GenerationRequest) -> bool:
        return list(self.engine.requests) == [asked.request_id]


@pytest.fixture
def bench(live_redis: RedisServer, default_model_dir: Any) -> Iterator[Bench]:
    made = Bench(default_model_dir.name)
    yield made
    live_redis.start()
    made.runtime.stop()
