"""A worker's inside: one engine or none, and the requests that run in it.

`run` is a task's whole life: claim in the ledger, hand to the engine, wait for the end. A request
that the engine can't finish, because it stops, breaks or hangs, goes back in line and continues
from its last token elsewhere.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from kombu.exceptions import KombuError

from inference.contract import (
    EngineStats,
    ErrorCode,
    Event,
    FinishReason,
    GenerationRequest,
    Phase,
    Progress,
    Result,
    WorkerState,
)
from inference.engine.config import EngineConfig
from inference.queue import broker, ledger
from inference.queue import recovery as rescue
from inference.queue.ledger import RedisTrouble
from inference.worker.publisher import Publisher
from inference.worker.worker_config import WorkerSettings

log = logging.getLogger(__name__)

STOP_S = 4.0  # how long an engine may take to end its step and give its requests up
NOT_HERE_S = 0.2


class Engine(Protocol):
    """What the slot needs of inference.engine."""

    steps: int

    def start(self) -> None: ...
    def submit(self, request: GenerationRequest) -> None: ...
    def cancel(self, request_id: str) -> None: ...
    def stop(self, timeout_s: float = ...) -> bool: ...
    def status(self) -> EngineStats: ...


class Line(Protocol):
    """The queue that tasks come from: joined when a model is ready, left before it goes."""

    def join(self, queue: str) -> None: ...
    def leave(self) -> None: ...


MakeEngine = Callable[[EngineConfig, Callable[[list[Event]], None]], Engine]


def make_engine(config: EngineConfig, emit: Callable[[list[Event]], None]) -> Engine:
    """The real one. Imported late: it brings torch."""
    from inference.engine.engine import Engine as TorchEngine

    return TorchEngine(config, emit=emit)


@dataclass(slots=True)
class Job:
    """A request in this process, from its claim to its end here."""

    request: GenerationRequest
    done: threading.Event = field(default_factory=threading.Event)
    is_ours: bool = True  # its lease is renewed
    is_ended: bool = False  # its terminal entry was written here


class Slot:
    """Thread-safe; one per process."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        worker: str,
        line: Line,
        make_engine: MakeEngine = make_engine,
    ) -> None:
        self.settings = settings
        self.worker = worker
        self.model: str | None = None
        self.engine: Engine | None = None
        self.was_ready = False  # the engine of now served once: its failure is no bad model
        self.is_leaving = False
        self._line = line
        self._make_engine = make_engine
        self._publisher = Publisher(self)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()  # of engine, model and jobs
        self._changing = threading.Lock()  # one load or unload at a time
        self._leaver = threading.Thread(target=self._give_all_back, name="leaver", daemon=True)
        self._left_running = False  # an engine did not stop when told

    # --- one request ---------------------------------------------------------------------------

    def run(self, request_id: str, attempt: int) -> None:
        """Make one answer; returns when it has ended here. A stale or doubled task does nothing."""
        with self._lock:
            engine, model = self.engine, self.model
        if engine is None or model is None or self.is_leaving:
            self._pass_on(request_id, attempt)
            return
        claim = ledger.claim(request_id, attempt, worker=self.worker, model=model)
        if claim.outcome == "other":
            self._pass_on(request_id, attempt)
        if claim.request is None:
            log.info("request %s #%d is not taken up: %s", request_id[:8], attempt, claim.outcome)
            return
        self._end_older(request_id)
        job = Job(claim.request)
        with self._lock:
            self._jobs[request_id] = job
        self._publisher.expect(request_id, model)
        if engine.status().state != WorkerState.READY:
            self._publisher.put(
                [Progress(request_id=request_id, attempt=attempt, phase=Phase.LOADING)]
            )
        engine.submit(claim.request)
        job.done.wait()
        if job.is_ended:
            _ask_to_store(request_id, attempt)

    def cancel(self, request_id: str) -> None:
        """End a request within a step. Unknown or finished ones are ignored."""
        engine = self.engine
        if engine is not None:
            engine.cancel(request_id)

    def leased(self) -> list[tuple[str, int]]:
        """(request id, attempt) of all that runs here and is still ours."""
        with self._lock:
            return [(id_, job.request.attempt) for id_, job in self._jobs.items() if job.is_ours]

    def _end_older(self, request_id: str) -> None:
        """An attempt that this worker lost while it hung goes before the next one, which it got."""
        with self._lock:
            older = self._jobs.get(request_id)
        if older is not None:
            self.on_not_ours(request_id)
            older.done.wait(STOP_S)

    def _pass_on(self, request_id: str, attempt: int) -> None:
        """A task that came while its model went: back to the queue, for others."""
        entry = ledger.look(request_id)
        if entry is not None and entry.state == "waiting" and entry.attempt == attempt:
            time.sleep(NOT_HERE_S)  # should it come here again, it mustn't do so all the time
            broker.send_generate(entry.request)

    # --- what the publisher tells ----------------------------------------------------------------

    def on_ended(self, result: Result, *, is_written: bool) -> None:
        self._close(result.request_id, result.attempt, is_ended=is_written)

    def on_unfinished(self, result: Result) -> None:
        is_lost = result.error_code != ErrorCode.ENGINE_STOPPED
        ended = rescue.give_back(result.request_id, result.attempt, is_lost=is_lost, reason=result)
        self._close(result.request_id, result.attempt, is_ended=ended)

    def on_not_ours(self, request_id: str) -> None:
        with self._lock:
            job = self._jobs.get(request_id)
            if job is None or not job.is_ours:
                return
            job.is_ours = False
        log.warning("request %s #%d is no longer ours", request_id[:8], job.request.attempt)
        self.cancel(request_id)

    def _close(self, request_id: str, attempt: int, *, is_ended: bool) -> None:
        with self._lock:
            job = self._jobs.get(request_id)
            if job is None or job.request.attempt != attempt:
                return
            del self._jobs[request_id]
        job.is_ended = is_ended
        job.done.set()

    # --- the model -----------------------------------------------------------------------------

    def start(self) -> None:
        self._publisher.start()
        if self.settings.model:
            self.load(self.settings.model)

    def load(self, model: str) -> None:
        """Hold this model, in place of another; returns at once. Raises ModelFolderError."""
        config = self.settings.engine_config(model, worker=self.worker)
        self._in_background(lambda: self._hold(model, config))

    def unload(self) -> None:
        """Hold no model; returns at once."""
        self._in_background(lambda: self._hold(None, None))

    def _in_background(self, change: Callable[[], None]) -> None:
        threading.Thread(target=change, name="change of model", daemon=True).start()

    def _hold(self, model: str | None, config: EngineConfig | None) -> None:
        with self._changing:
            if model is not None and model == self.model and self.was_ready:
                return
            self._empty()
            if model is None or config is None or self.is_leaving:
                return
            engine = self._make_engine(config, self._publisher.put)
            with self._lock:
                self.engine, self.model = engine, model
            log.info("loading %s", model)
            engine.start()
            while (
                engine.status().state in (WorkerState.LOADING, WorkerState.WARMING)
                and not self.is_leaving
            ):
                time.sleep(0.02)
            status = engine.status()
            if status.state == WorkerState.READY:
                self.was_ready = True
                log.info("%s is ready: %s %s", model, status.dtype, status.path)
                self._line.join(broker.queue_of(model))
            elif status.state == WorkerState.FAILED:
                log.error("%s can't be served: %s", model, status.state_detail)

    def _empty(self) -> None:
        """Let the model go; what runs is given back."""
        engine = self.engine
        if engine is None:
            return
        if not self.is_leaving:  # else Celery has left the queue already
            self._line.leave()
        if not engine.stop(STOP_S):
            self._left_running = True
            log.warning("the engine did not stop in %g s", STOP_S)
        self.wait_for_jobs(STOP_S)
        with self._lock:
            self.engine, self.model, self.was_ready = None, None, False

    def wait_for_jobs(self, timeout_s: float) -> bool:
        """Until nothing runs here any more; False if something does after that time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self._lock:
                if not self._jobs:
                    return True
            time.sleep(0.01)
        return False

    # --- the end -------------------------------------------------------------------------------

    def leave(self) -> None:
        """Take no more, and give back what runs, within some seconds; returns at once."""
        if not self.is_leaving:
            self.is_leaving = True
            self._leaver.start()

    def stop(self) -> bool:
        """Leave, and wait until all is given back and written. False if an engine still runs."""
        self.leave()
        self._leaver.join(3 * STOP_S)
        self._publisher.stop(2.0)
        return not self._left_running

    def _give_all_back(self) -> None:
        with self._changing:
            self._empty()
        self.give_up(ErrorCode.ENGINE_STOPPED, "The worker was stopped.")

    def give_up(self, code: ErrorCode, text: str) -> None:
        """Give back what the engine didn't; a task must not wait for what will not come."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            result = Result(
                request_id=job.request.request_id,
                attempt=job.request.attempt,
                finish_reason=FinishReason.INTERRUPTED,
                error_code=code,
                error_text=text,
            )
            try:
                self.on_unfinished(result)
            except (*RedisTrouble, KombuError):  # the lease runs out
                self._close(result.request_id, result.attempt, is_ended=False)

    @property
    def is_publishing(self) -> bool:
        return self._publisher.is_alive


def _ask_to_store(request_id: str, attempt: int) -> None:
    with suppress(*RedisTrouble, KombuError):  # the reaper finds it in the ledger
        broker.send_store_result(request_id, attempt)
