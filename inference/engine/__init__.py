"""The engine: one thread that schedules, runs, samples and detokenises many requests at once.

`Engine` is imported when it is asked for: it brings torch, and `EngineConfig` does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.contract import EngineStats
from inference.engine.config import EngineConfig

if TYPE_CHECKING:
    from inference.engine.engine import Engine

__all__ = ["Engine", "EngineConfig", "EngineStats"]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from inference.engine.engine import Engine

        return Engine
    raise AttributeError(name)
