"""A slot whose engine a test steps by hand, over a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from inference.contract import GenerationRequest
from inference.queue import ledger
from inference.worker.runtime import Slot
from inference.worker.worker_config import WorkerSettings
from tests.support.engine import HandEngine
from tests.support.redis import RedisServer
from tests.support.requests import new_request, until


@dataclass
class Line:
    """Notes what the slot does with its queue."""

    joined: list[str | None] = field(default_factory=list)

    def join(self, queue: str) -> None:
        self.joined.append(queue)

    def leave(self) -> None:
        self.joined.append(None)


class Bench:
    """A slot and its tasks."""

    def __init__(self, model: str) -> None:
        self.line = Line()
        self.engines: list[HandEngine] = []
        self.slot = Slot(
            WorkerSettings(model=model, stall_s=0.3),
            worker="w@test",
            line=self.line,
            make_engine=self._make,
        )
        self.model = model
        self.slot.start()
        until(lambda: bool(self.line.joined), what="the queue joined")

    def _make(self, config: Any, emit: Any) -> HandEngine:
        self.engines.append(HandEngine(config, emit))
        return self.engines[-1]

    @property
    def engine(self) -> HandEngine:
        return self.engines[-1]

    def ask(self, **changes: Any) -> GenerationRequest:
        """A request in line; `take` takes it up."""
        asked = new_request(model=self.model, **changes)
        assert ledger.submit(asked) == "ok"
        return asked

    def take(self, asked: GenerationRequest, attempt: int = 1) -> threading.Thread:
        """Its task, in a thread of its own as in the pool."""
        task = threading.Thread(target=self.slot.run, args=(asked.request_id, attempt), daemon=True)
        task.start()
        return task

    def run(self, **changes: Any) -> tuple[GenerationRequest, threading.Thread]:
        """A request that the engine has."""
        asked = self.ask(**changes)
        task = self.take(asked)
        until(lambda: asked.request_id in self.engine.requests, what="the engine has it")
        return asked, task


@pytest.fixture
def bench(live_redis: RedisServer, default_model_dir: Any) -> Iterator[Bench]:
    made = Bench(default_model_dir.name)
    yield made
    live_redis.start()
    made.slot.stop()
