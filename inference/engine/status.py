"""What the engine says of itself; the worker's snapshot is made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["empty", "loading", "warming", "ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A moment of the engine, for the worker's snapshot. Sizes in bytes."""

    state: State = "empty"
    state_detail: str = ""
    device: str = ""
    dtype: str = ""
    path: str = ""
    threads: int = 0
    running: int = 0
    waiting: int = 0
    kv_blocks_used: int = 0
    kv_blocks_total: int = 0
    kv_block_tokens: int = 0
    tokens_per_s: float = 0.0
    memory_used: int = 0
    memory_total: int = 0
    bandwidth_bytes_s: float = 0.0
    flops_s: float = 0.0
    context_length: int = 0
    model_revision: str = ""
    notes: tuple[str, ...] = ()
    model_info: dict[str, Any] = field(default_factory=dict)
