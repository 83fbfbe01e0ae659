"""A worker's inside: one engine or none, and the requests that run in it.

`serve` is what a wake-up sets off: take the best waiting request from the ledger, hand it to the
engine, wait for its end, and take the next. A request that the engine can't finish, because it
stops, breaks or hangs, goes back into the queue and continues from its last token elsewhere.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from kombu.exceptions import KombuError

from inference.contract import (
    ErrorCode,
    FinishReason,
    GenerationRequest,
    Result,
    Source,
    WorkerState,
)
from inference.engine.config import EngineConfig
from inference.queue import broker, ledger, recovery, wake_ups
from inference.queue.connection import REDIS_ERRORS
from inference.worker.engine_protocol import Engine, MakeEngine, make_engine
from inference.worker.publisher import Publisher
from inference.worker.reserved_capacity import ReservedCapacity
from inference.worker.running_requests import RunningRequests
from inference.worker.worker_config import WorkerSettings

log = logging.getLogger(__name__)

STOP_S = 4.0  # how long an engine may take to end its step and give its requests up
HAND_ON_S = 0.2
GOING_UP = (WorkerState.LOADING, WorkerState.WARMING)


class Membership(Protocol):
    """The queues that wake-ups come from: joined when a model is ready, left before it goes."""

    def join(self, model: str) -> None: ...
    def leave(self) -> None: ...


class WorkerRuntime:
    """Thread-safe; one per process."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        worker: str,
        membership: Membership,
        capacity: ReservedCapacity,
        make_engine: MakeEngine = make_engine,
    ) -> None:
        self.settings = settings
        self.worker = worker
        self.capacity = capacity
        self.model: str | None = None
        self.engine: Engine | None = None
        self.was_ready = (
            False  # this engine has been ready: if it fails now, that isn't the model's fault
        )
        self.is_leaving = False
        self._takes_requests = False  # true from when the model is ready until unloading begins
        self._membership = membership
        self._make_engine = make_engine
        self._publisher = Publisher(self)
        self.running = RunningRequests()
        self._lock = threading.Lock()  # of engine and model
        self._changing = threading.Lock()  # one load or unload at a time
        self._leaver = threading.Thread(target=self._unload_for_good, name="leaver", daemon=True)
        self._left_running = False  # an engine did not stop when asked

    # --- requests ------------------------------------------------------------------------------

    def serve(self, model: str, source: Source, *, task_id: str) -> None:
        """Run waiting requests of `model`, one after the other, until none is left to take.

        Called with a wake-up of the queue of that model and source. A wake-up that finds nothing is
        used up; one that this worker can't use, though requests wait, is handed on to other
        workers.
        """
        is_used = False  # this wake-up has brought a request
        try:
            while engine := self._engine_of(model):
                may_take_api = self.capacity.take_api_place(task_id)
                only: Source | None = None if may_take_api else "chat"
                claim = ledger.claim_next(model, worker=self.worker, only=only)
                request = claim.request
                if request is None:
                    if claim.is_rest_barred and not is_used:
                        # API traffic alone waits and has no place here: this worker is off its
                        # queue, so the wake-up doesn't come back.
                        wake_ups.send(model, "api")
                    return
                if request.source == "chat":
                    self.capacity.release_api_place(task_id)
                elif source == "chat" and not is_used and request.attempt > 1:
                    # An API answer that had begun went before people, with a wake-up meant for
                    # them: workers that may take nothing else need another one.
                    wake_ups.send(model, "chat")
                is_used = True
                if not self._run(engine, request):
                    return  # put back or lost: this engine may be about to go
            if not is_used:
                time.sleep(HAND_ON_S)  # if it comes back here, not in a tight loop
                wake_ups.send(model, source)
        finally:
            self.capacity.release_api_place(task_id)

    def _engine_of(self, model: str) -> Engine | None:
        """The engine that may take requests of this model now."""
        with self._lock:
            engine, held = self.engine, self.model
        if engine is None or held != model or self.is_leaving or not self._takes_requests:
            return None
        return None if engine.status().state == WorkerState.FAILED else engine

    def _run(self, engine: Engine, request: GenerationRequest) -> bool:
        """Make one answer. False when it did not end here."""
        request_id, attempt = request.request_id, request.attempt
        self._end_older(request_id)
        running = self.running.add(request)
        self._publisher.expect(request_id, request.model)
        engine.submit(request)
        running.done.wait()
        if running.is_ended:
            with suppress(*REDIS_ERRORS, KombuError):  # the periodic look finds it
                broker.send_store_result(request_id, attempt)
        return running.is_ended

    def cancel(self, request_id: str) -> None:
        """End a request within a step. Unknown or finished ones are ignored."""
        engine = self.engine
        if engine is not None:
            engine.cancel(request_id)

    def _end_older(self, request_id: str) -> None:
        """End an attempt that this worker lost while it hung, before it runs the next one."""
        older = self.running.get(request_id)
        if older is not None:
            self.on_not_ours(request_id)
            older.done.wait(STOP_S)

    # --- what the publisher reports --------------------------------------------------------------

    def on_ended(self, result: Result, *, is_written: bool) -> None:
        self.running.close(result.request_id, result.attempt, is_ended=is_written)

    def on_unfinished(self, result: Result) -> None:
        is_lost = result.error_code != ErrorCode.ENGINE_STOPPED
        ended = recovery.requeue(result.request_id, result.attempt, is_lost=is_lost, reason=result)
        self.running.close(result.request_id, result.attempt, is_ended=ended)

    def on_not_ours(self, request_id: str) -> None:
        attempt = self.running.disown(request_id)
        if attempt is not None:
            log.warning("request %s #%d is no longer ours", request_id[:8], attempt)
            self.cancel(request_id)

    # --- the model -----------------------------------------------------------------------------

    def start(self) -> None:
        self._publisher.start()
        if self.settings.model:
            self.load(self.settings.model)

    def load(self, model: str) -> None:
        """Load this model in place of another; returns at once. Raises ModelFolderError."""
        config = self.settings.engine_config(model, worker=self.worker)
        self._in_background(lambda: self._load(model, config))

    def unload(self) -> None:
        """Unload the model; returns at once."""

        def change() -> None:
            with self._changing:
                self._unload()

        self._in_background(change)

    def _in_background(self, change: Callable[[], None]) -> None:
        threading.Thread(target=change, name="change of model", daemon=True).start()

    def _load(self, model: str, config: EngineConfig) -> None:
        with self._changing:
            if model == self.model and self.was_ready:
                return
            self._unload()
            if self.is_leaving:
                return
            engine = self._make_engine(config, self._publisher.put)
            with self._lock:
                self.engine, self.model = engine, model
            log.info("loading %s", model)
            engine.start()
            while engine.status().state in GOING_UP and not self.is_leaving:
                time.sleep(0.02)
            status = engine.status()
            if status.state == WorkerState.READY:
                self.was_ready = True
                log.info("%s is ready: %s %s", model, status.dtype, status.path)
                self._takes_requests = True
                self._membership.join(model)
            elif status.state == WorkerState.FAILED:
                log.error("%s can't be served: %s", model, status.state_detail)

    def _unload(self) -> None:
        """Unload the model; running requests go back into the queue. Call while holding
        `_changing`.
        """
        engine = self.engine
        if engine is None:
            return
        self._takes_requests = False
        if not self.is_leaving:  # else Celery has left the queues already
            self._membership.leave()
        if not engine.stop(STOP_S):
            self._left_running = True
            log.warning("the engine did not stop in %g s", STOP_S)
        self.running.wait_until_empty(STOP_S)
        with self._lock:
            self.engine, self.model, self.was_ready = None, None, False

    # --- the end -------------------------------------------------------------------------------

    def leave(self) -> None:
        """Claim no more requests, and begin to give the running ones back; returns at once."""
        if not self.is_leaving:
            self.is_leaving = True
            self._leaver.start()

    def stop(self) -> bool:
        """Leave, and wait until all is given back and written. False if an engine still runs."""
        self.leave()
        self._leaver.join(3 * STOP_S)
        self._publisher.stop(2.0)
        return not self._left_running

    def _unload_for_good(self) -> None:
        with self._changing:
            self._unload()
        self.give_up(ErrorCode.ENGINE_STOPPED)

    def give_up(self, code: ErrorCode) -> None:
        """Put back the requests that the engine left, so that no task waits for an end that never
        comes.
        """
        for request in self.running.requests():
            result = Result(
                request_id=request.request_id,
                attempt=request.attempt,
                finish_reason=FinishReason.INTERRUPTED,
                error_code=code,
                error_text=code.sentence,
            )
            try:
                self.on_unfinished(result)
            except (*REDIS_ERRORS, KombuError):  # the lease runs out
                self.running.close(result.request_id, result.attempt, is_ended=False)

    @property
    def is_publishing(self) -> bool:
        return self._publisher.is_alive
