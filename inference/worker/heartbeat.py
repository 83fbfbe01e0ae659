"""The worker's heartbeat: renews leases, tells how it is, and ends a process that can't go on.

A process whose engine died or hangs is of no use; it gives back what it runs and exits with a
status that tells the supervisor to start a new one.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from inference.contract import EngineStats, ErrorCode, WorkerSnapshot, WorkerState
from inference.queue import ledger
from inference.queue import worker_snapshots as snapshots
from inference.worker.runtime import Slot

log = logging.getLogger(__name__)

BEAT_S = 1.0
LAST_WORDS_S = 3.0
EXIT_ENGINE_DEAD = 70  # EX_SOFTWARE of sysexits.h


class Pulse:
    """A thread that beats once a second. `end_process` is os._exit but for tests."""

    def __init__(self, slot: Slot, *, end_process: Callable[[int], None] = os._exit) -> None:
        self._slot = slot
        self._end_process = end_process
        self._stopped = threading.Event()
        self._started_us = time.time_ns() // 1000
        self._steps, self._moved_at = -1, time.monotonic()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and take the worker's snapshot away."""
        self._stopped.set()
        self._thread.join(LAST_WORDS_S)
        with suppress(*ledger.RedisTrouble):  # it expires
            snapshots.withdraw(self._slot.worker)

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):
            if (trouble := self.trouble()) is not None:
                self._die(trouble)
                return
            try:
                self._renew()
                snapshots.tell(self.snapshot())
            except ledger.RedisTrouble as error:
                log.warning("heartbeat: %s", type(error).__name__)
            except Exception:
                log.exception("heartbeat")

    def trouble(self) -> str | None:
        """Why this process can't go on; None while it can. Loading may take its time."""
        slot, engine = self._slot, self._slot.engine
        if slot.is_leaving:
            return None
        if not slot.is_publishing:
            return "the publisher ended"
        status = engine.status() if engine is not None else EngineStats()
        if engine is None or status.state != WorkerState.READY or engine.steps != self._steps:
            self._steps = -1 if engine is None else engine.steps
            self._moved_at = time.monotonic()
        if status.state == WorkerState.FAILED and slot.was_ready:
            return f"the engine failed: {status.state_detail}"
        still_s = time.monotonic() - self._moved_at
        if still_s > slot.settings.stall_s:
            return f"the engine made no step for {still_s:.0f} s"
        return None

    def _renew(self) -> None:
        for request_id, standing in ledger.refresh(self._slot.leased()).items():
            if standing == "lost":
                self._slot.on_not_ours(request_id)
            elif standing == "cancelled":  # should the order have been lost
                self._slot.cancel(request_id)

    def _die(self, why: str) -> None:
        log.critical("%s; this worker ends", why)
        if not self._slot.wait_for_jobs(LAST_WORDS_S):  # the publisher gives back what ended
            self._slot.give_up(ErrorCode.ENGINE_FAILED, "The model's engine stopped working.")
        logging.shutdown()
        self._end_process(EXIT_ENGINE_DEAD)

    def snapshot(self) -> WorkerSnapshot:
        """How the worker is now."""
        engine, model = self._slot.engine, self._slot.model
        return WorkerSnapshot(
            worker=self._slot.worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_us=self._started_us,
            seen_us=time.time_ns() // 1000,
            model=model,
            engine=engine.status() if engine is not None else EngineStats(),
        )
