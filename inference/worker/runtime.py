"""A worker's inside: one engine, its publisher, and the threads that keep its promises.

`run` is a task's whole life: claim in the ledger, hand to the engine, wait for the end. The
heartbeat renews leases while the engine's step counter moves, tells how the worker is, and ends the
process when the engine is dead or stuck, so that the supervisor starts a new one.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
import socket
import threading
import time
from typing import TYPE_CHECKING

from inference.contract import (
    Event,
    GenerationRequest,
    Progress,
    Result,
    WorkerSnapshot,
    to_wire,
)
from inference.streams import keys, ledger
from inference.streams.settings import connect, settings
from inference.text import DEFAULT_SLUG, model_folder
from inference.worker.publisher import Publisher

if TYPE_CHECKING:
    from inference.engine.engine import Engine

log = logging.getLogger(__name__)

BEAT_S = 1.0
STUCK_S = 30.0  # no step for this long while not loading: the engine hangs
SNAPSHOT_S = 6
EXIT_ENGINE_DEAD = 70
HANDED_BACK = ("engine_failed", "engine_stopped")


class Runtime:
    """Runs requests of one model. Thread-safe; one per process."""

    def __init__(self, *, worker: str, engine: Engine, model: str) -> None:
        self.worker = worker
        self.model = model
        self.engine = engine
        self._publisher = Publisher(on_result=self._ended)
        self._lock = threading.Lock()
        self._running: dict[str, tuple[int, threading.Event]] = {}
        self._stopping = threading.Event()
        self._started_us = time.time_ns() // 1000

    @classmethod
    def from_env(cls, *, worker: str) -> Runtime:
        """The runtime that CHATSITE_MODEL, CHATSITE_DTYPE and CHATSITE_DEVICE ask for."""
        from inference.engine.config import EngineConfig
        from inference.engine.engine import Engine

        model = os.environ.get("CHATSITE_MODEL") or DEFAULT_SLUG
        config = EngineConfig(
            model_dir=model_folder(model),
            worker=worker,
            dtype=os.environ.get("CHATSITE_DTYPE") or "auto",
            device=os.environ.get("CHATSITE_DEVICE") or "auto",
            threads=int(os.environ.get("CHATSITE_THREADS") or 0),
        )
        runtime: Runtime
        engine = Engine(config, emit=lambda events: runtime.take(events))
        runtime = cls(worker=worker, engine=engine, model=model)
        return runtime

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        self._publisher.start()
        self.engine.start()
        for target in (self._beat, self._obey):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()

    def stop_soon(self) -> None:
        """Take no more, and hand what runs back so that another worker goes on with it."""
        if not self._stopping.is_set():
            self._stopping.set()
            threading.Thread(target=self._hand_back, name="hand-back", daemon=True).start()

    def stop(self) -> None:
        self.stop_soon()
        self.engine.stop(5.0)
        self._publisher.stop(2.0)
        try:
            connect().delete(keys.worker(self.worker))
        except ledger.RedisTrouble:
            pass  # it expires

    def _hand_back(self) -> None:
        with self._lock:
            running = dict(self._running)
        try:
            ledger.hand_back(running)
        except ledger.RedisTrouble:
            pass  # the leases run out
        for _, done in running.values():
            done.set()

    # --- requests ------------------------------------------------------------------------------

    def run(self, request: GenerationRequest) -> None:
        """Make one answer; returns when it has ended here. A stale or doubled task does nothing."""
        if self._stopping.is_set() or not ledger.claim(request, self.worker):
            log.info("request %s #%d is not for us", request.request_id[:8], request.attempt)
            return
        done = threading.Event()
        with self._lock:
            self._running[request.request_id] = (request.attempt, done)
        self._publisher.expect(request.request_id, request.model)
        if self.engine.status().state in ("empty", "loading", "warming"):
            self._publisher.put(
                [Progress(request_id=request.request_id, attempt=request.attempt, phase="loading")]
            )
        self.engine.submit(request)
        done.wait()

    def take(self, events: list[Event]) -> None:
        """Pass a step's events on; called from the engine thread.

        Results of an engine that stops or breaks are kept back: the requests are not over, their
        leases are given up, and the reaper lets another worker go on with them.
        """
        kept = [e for e in events if not (isinstance(e, Result) and e.error_code in HANDED_BACK)]
        if kept:
            self._publisher.put(kept)

    def _ended(self, result: Result, is_written: bool) -> None:
        with self._lock:
            _, done = self._running.pop(result.request_id, (0, None))
        if is_written:
            self._ask_to_store(result)
        if done is not None:
            done.set()

    def _ask_to_store(self, result: Result) -> None:
        from inference.worker.app import app

        try:
            app.send_task(
                "chatsite.chat.store_reply",
                [result.request_id, result.attempt],
                queue="web",
                retry=False,
            )
        except Exception as error:  # the reaper finds it in the ledger
            log.warning("could not ask to store %s: %s", result.request_id[:8], error)

    # --- threads -------------------------------------------------------------------------------

    def _beat(self) -> None:
        steps, moved_at = -1, time.monotonic()
        while not self._stopping.wait(BEAT_S):
            status = self.engine.status()
            if self.engine.steps != steps or status.state in ("loading", "warming"):
                steps, moved_at = self.engine.steps, time.monotonic()
            silent_s = time.monotonic() - moved_at
            if status.state == "failed":
                self._die(f"the engine failed: {status.state_detail}")
            if silent_s > STUCK_S:
                self._die(f"the engine made no step for {silent_s:.0f} s")
            try:
                if silent_s < settings().lease_s:
                    self._renew()
                connect().set(keys.worker(self.worker), to_wire(self.snapshot()), ex=SNAPSHOT_S)
                connect().sadd(keys.workers(), self.worker)
            except ledger.RedisTrouble as error:
                log.warning("heartbeat: %s", type(error).__name__)

    def _renew(self) -> None:
        with self._lock:
            running = [(request_id, attempt) for request_id, (attempt, _) in self._running.items()]
        for request_id in ledger.refresh(running):
            log.warning("request %s is no longer ours", request_id[:8])
            self.engine.cancel(request_id)

    def _obey(self) -> None:
        """Carry out orders sent to this worker."""
        import redis

        client = redis.Redis.from_url(
            settings().redis_url, socket_connect_timeout=1.0, socket_timeout=10.0, retry=None
        )
        while not self._stopping.is_set():
            try:
                order = client.blpop([keys.orders(self.worker)], timeout=5)
            except ledger.RedisTrouble:
                time.sleep(0.5)
                continue
            if order is not None:
                verb, _, request_id = order[1].decode().partition(" ")
                if verb == "cancel":
                    self.engine.cancel(request_id)

    def _die(self, why: str) -> None:
        log.error("%s; this worker ends", why)
        self._stopping.set()
        time.sleep(0.5)  # the publisher writes the results of what failed
        self._hand_back()
        os._exit(EXIT_ENGINE_DEAD)

    def snapshot(self) -> WorkerSnapshot:
        status = self.engine.status()
        known = {field.name for field in dataclasses.fields(WorkerSnapshot)}
        shared = {
            field.name: getattr(status, field.name)
            for field in dataclasses.fields(status)
            if field.name in known
        }
        return WorkerSnapshot(
            worker=self.worker,
            host=socket.gethostname() or platform.node(),
            pid=os.getpid(),
            started_us=self._started_us,
            seen_us=time.time_ns() // 1000,
            model=self.model,
            **shared,
        )
