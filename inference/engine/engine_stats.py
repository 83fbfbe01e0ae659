"""Puts an engine's EngineStats together: its fixed figures, and what it did in the last second."""

from __future__ import annotations

import collections
import time

from inference.contract import EngineStats, WorkerState
from inference.engine.device import device_memory
from inference.engine.loader import TextArtifacts
from inference.engine.model_runner import ModelRunner
from inference.engine.scheduling.scheduler import Scheduler
from inference.engine.served_model import ServedModelInfo

MEMORY_EVERY_S = 1.0
"""How often the memory in use is read anew."""


class EngineStatsBuilder:
    """Counts sampled tokens and builds EngineStats. Called from the engine thread."""

    def __init__(
        self,
        runner: ModelRunner,
        scheduler: Scheduler,
        served: ServedModelInfo,
        text: TextArtifacts,
    ) -> None:
        self._runner, self._scheduler = runner, scheduler
        self._served, self._text = served, text
        self._memory, self._memory_s = device_memory(runner.device), time.monotonic()
        self._recent: collections.deque[tuple[float, int]] = collections.deque(maxlen=1024)

    def count_sampled(self, count: int) -> None:
        """Note that so many tokens were sampled now."""
        self._recent.append((time.monotonic(), count))

    def build(self) -> EngineStats:
        """The engine as it is now."""
        runner, scheduler, pool = self._runner, self._scheduler, self._scheduler.pool
        if time.monotonic() - self._memory_s > MEMORY_EVERY_S:
            self._memory, self._memory_s = device_memory(runner.device), time.monotonic()
        speed = runner.speed_meter.best
        return EngineStats(
            state=WorkerState.READY,
            device=self._served.device,
            dtype=self._served.dtype,
            path=runner.backend.name,
            threads=runner.threads,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            kv_blocks_used=pool.num_blocks - pool.num_free,
            kv_blocks_total=pool.num_blocks,
            kv_block_tokens=pool.block_tokens,
            tokens_per_s=self._tokens_per_s(),
            memory_used=self._memory.used,
            memory_total=self._memory.total,
            bandwidth_bytes_s=speed.bandwidth_bytes_s,
            flops_s=speed.flops_s,
            speed_seen_us=speed.seen_us,
            format_speeds=runner.format_speeds,
            context_length=self._served.context_length,
            model_revision=self._served.model_revision,
            notes=runner.notes,
            model_info=self._text.info,
        )

    def _tokens_per_s(self) -> float:
        """Tokens sampled over the last second."""
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] > 1.0:
            self._recent.popleft()
        return float(sum(count for _, count in self._recent))
