"""What a worker and its engine report once a second. Sizes in bytes, times in wall µs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inference.contract.codes import WorkerState


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpeed:
    """How long a format's products take on a CPU: µs for 100 million weights."""

    dtype: str
    threads: int
    one_row_us: float
    eight_rows_us: float
    seen_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A moment of an engine."""

    state: WorkerState = WorkerState.EMPTY
    state_detail: str = ""  # "62 %", or why it failed
    device: str = ""
    dtype: str = ""
    path: str = ""  # which kernels serve: "native avx512 int4", "onednn", "cuda graphs"
    threads: int = 0
    running: int = 0
    waiting: int = 0
    kv_blocks_used: int = 0
    kv_blocks_total: int = 0
    kv_block_tokens: int = 0
    tokens_per_s: float = 0.0
    memory_used: int = 0
    memory_total: int = 0
    bandwidth_bytes_s: float = 0.0  # the best that was ever seen on this machine
    flops_s: float = 0.0  # likewise, of products in the dtype that serves
    speed_seen_us: int = 0  # when
    format_speeds: tuple[FormatSpeed, ...] = ()  # what dtype and threads were chosen by
    context_length: int = 0
    model_revision: str = ""
    notes: tuple[str, ...] = ()
    model_info: dict[str, Any] = field(default_factory=dict)  # models.describe()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """A moment of a worker process; `model` is None while it holds none."""

    worker: str
    host: str
    pid: int
    started_us: int
    seen_us: int
    model: str | None
    engine: EngineStats = field(default_factory=EngineStats)
