"""What a worker needs of an engine, and the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from inference.contract import EngineStats, Event, GenerationRequest
from inference.engine.config import EngineConfig

Emit = Callable[[list[Event]], None]


class Engine(Protocol):
    """One model, served by a thread of its own; events go to the callable given at creation."""

    steps: int

    def start(self) -> None: ...
    def submit(self, request: GenerationRequest) -> None: ...
    def cancel(self, request_id: str) -> None: ...
    def stop(self, timeout_s: float = ...) -> bool: ...
    def status(self) -> EngineStats: ...


MakeEngine = Callable[[EngineConfig, Emit], Engine]


def make_engine(config: EngineConfig, emit: Emit) -> Engine:
    """The real one. Imported late: it brings torch."""
    from inference.engine.engine import Engine as TorchEngine

    return TorchEngine(config, emit=emit)
