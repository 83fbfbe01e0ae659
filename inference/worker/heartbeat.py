"""The worker's heartbeat: renews leases, publishes snapshots, ends a process that can't go on.

A process whose engine died or hangs is of no use: it puts back what it runs and exits with a status
upon which the supervisor starts a new one.
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
from inference.queue import ledger, worker_snapshots
from inference.queue.connection import REDIS_ERRORS
from inference.worker.runtime import WorkerRuntime
from inference.worker.stall_clock import StallClock

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
LAST_WORDS_S = 3.0
EXIT_ENGINE_DEAD = 70  # EX_SOFTWARE of sysexits.h


class Heartbeat:
    """A thread that looks at the process once a second. `end_process` is os._exit but for tests."""

    def __init__(
        self, runtime: WorkerRuntime, *, end_process: Callable[[int], None] = os._exit
    ) -> None:
        self._runtime = runtime
        self._end_process = end_process
        self._stopped = threading.Event()
        self._started_us = time.time_ns() // 1000
        self._steps = -1
        self._stall = StallClock()
        self.is_hidden = False  # on standby: no snapshots, for another worker bears the name
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the worker's snapshot."""
        self._stopped.set()
        self._thread.join(LAST_WORDS_S)
        if self.is_hidden:
            return
        with suppress(*REDIS_ERRORS):  # it expires
            worker_snapshots.remove(self._runtime.worker)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            if (problem := self.health_problem()) is not None:
                self._end(problem)
                return
            try:
                self._renew()
                if not self.is_hidden:
                    worker_snapshots.publish(self.snapshot())
            except REDIS_ERRORS as error:
                log.warning("heartbeat: %s", error)
            except Exception:
                log.exception("heartbeat")

    def health_problem(self) -> str | None:
        """Why this process can't go on; None while it can. Loading may take its time."""
        runtime, engine = self._runtime, self._runtime.engine
        if runtime.is_leaving:
            return None
        if not runtime.is_publishing:
            return "the publisher ended"
        status = engine.status() if engine is not None else EngineStats()
        if engine is None or status.state != WorkerState.READY or engine.steps != self._steps:
            self._steps = -1 if engine is None else engine.steps
            self._stall.reset()
        if status.state == WorkerState.FAILED and runtime.was_ready:
            return f"the engine failed: {status.state_detail}"
        stalled_s = self._stall.look()
        if stalled_s > runtime.settings.stall_s:
            return (
                f"the engine made no step for {stalled_s:.0f} s, "
                f"beside {self._stall.starved_s:.0f} s in which it was given no CPU"
            )
        return None

    def _renew(self) -> None:
        for request_id, state in ledger.renew_leases(self._runtime.running.leased()).items():
            if state == "lost":
                self._runtime.on_not_ours(request_id)
            elif state == "cancelled":  # in case the listener has missed it
                self._runtime.cancel(request_id)

    def _end(self, why: str) -> None:
        log.critical("%s; this worker ends", why)
        if not self._runtime.running.wait_until_empty(
            LAST_WORDS_S
        ):  # the publisher puts back what ended
            self._runtime.give_up(ErrorCode.ENGINE_FAILED)
        logging.shutdown()
        self._end_process(EXIT_ENGINE_DEAD)

    def snapshot(self) -> WorkerSnapshot:
        """The state of the worker now."""
        engine, model = self._runtime.engine, self._runtime.model
        return WorkerSnapshot(
            worker=self._runtime.worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_us=self._started_us,
            seen_us=time.time_ns() // 1000,
            model=model,
            engine=engine.status() if engine is not None else EngineStats(),
        )
