"""The engine: one thread takes requests in and runs steps, one makes the events of each step.

`submit`, `cancel` and `status` may be called from any thread and return at once. All torch work,
from loading on, happens in the engine's own thread: two pools of torch threads on the same cores
cost three times the step. Knows no Redis, no Celery, no site.
"""

from __future__ import annotations

import collections
import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from inference.contract import (
    EngineStats,
    ErrorCode,
    Event,
    FinishReason,
    GenerationRequest,
    Phase,
    Progress,
    Stamp,
    WorkerState,
)
from inference.engine.config import EngineConfig
from inference.engine.core import Core
from inference.engine.inspection.inspector import Inspection, InspectionJob, InspectionRequest
from inference.engine.loader import ModelLoader, folder_loader
from inference.engine.model_runner import ModelRunner
from inference.engine.output import refusal
from inference.engine.output_thread import OutputThread
from inference.engine.parallel.tp_group import RankLost

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
IDLE_WAIT_S = 0.2
"""How often the step counter moves while there is nothing to do."""
STATS_EVERY_S = 0.05
"""How often the stats are built anew while steps follow each other."""


class Engine:
    """Serves one model. Every submitted request gets exactly one Result through `emit`.

    `emit` is called from the output thread with all events of a step and should return soon: a few
    steps later the engine waits for it. What `submit` can answer by itself it emits from the
    caller's thread. `loader` reads model and tokenizer; from the model folder by default. `steps`
    grows with every turn of the loop, idle or not; while a step hangs it doesn't.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        emit: Callable[[list[Event]], None],
        loader: ModelLoader | None = None,
    ) -> None:
        self.config = config
        self.steps = 0
        self._output = OutputThread(emit)
        self._loader = loader or folder_loader(config.model_dir)
        self._inbox: collections.deque[tuple[GenerationRequest, Stamp]] = collections.deque()
        self._cancelled: collections.deque[str] = collections.deque()
        self._jobs: collections.deque[InspectionJob] = collections.deque()
        self._wake = threading.Event()
        self._submit_lock = threading.Lock()  # guards _closed: once set, nothing enters the inbox
        self._closed = False
        self._stopping = False
        self._stats = EngineStats()
        self._stats_s = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # --- from any thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine thread, which loads the model and then serves."""
        # A busy thread beside this one may hold the interpreter for 5 ms before it is asked to let
        # go: as long as a step. Half a millisecond costs the other threads nothing to speak of.
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        self._set_state(WorkerState.LOADING, "starting")
        self._output.start()
        self._thread.start()

    def submit(self, request: GenerationRequest) -> None:
        """Take a request in. Its events, and at last its Result, come through `emit`.

        A stopped or failed engine emits a Result as well, and one that is still loading a Progress;
        both from the calling thread. The request's seed is drawn already.
        """
        with self._submit_lock:
            if not self._closed:
                self._inbox.append((request, Stamp.now()))
                if self._stats.state in (WorkerState.LOADING, WorkerState.WARMING):
                    self._output.emit([self._loading(request)])
                self._wake.set()
                return
        text = self._stats.state_detail or "The engine has stopped."
        self._output.emit(
            [self._refusal(request, FinishReason.FAILED, ErrorCode.ENGINE_STOPPED, text)]
        )

    def cancel(self, request_id: str) -> None:
        """End a request within one step. Unknown or finished ones are ignored."""
        self._cancelled.append(request_id)
        self._wake.set()

    def inspect(self, request: InspectionRequest) -> Future[Inspection]:
        """Inspect the model on one prefix, beside the running requests.

        The future raises ValueError for what is out of range, RuntimeError when the engine stops.
        """
        job = InspectionJob(request, Future())
        with self._submit_lock:
            if not self._closed:
                self._jobs.append(job)
                self._wake.set()
                return job.future
        job.future.set_exception(RuntimeError("The engine has stopped."))
        return job.future

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End all requests as interrupted and the thread with them; False if it didn't in time."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def status(self) -> EngineStats:
        """The engine as it was a moment ago: after one of the last steps."""
        return self._stats

    # --- the engine thread ----------------------------------------------------------------------

    def _run(self) -> None:
        core: Core | None = None
        runner: ModelRunner | None = None
        try:
            load = self._loader.load_model
            with ThreadPoolExecutor(1, thread_name_prefix="engine-text") as text_loader:
                text = text_loader.submit(self._loader.load_text)
                runner = ModelRunner(
                    self.config,
                    load=load,
                    report=self._set_state,
                    packed_in=self._loader.packed_in,
                )
                core = Core(self.config, runner, text.result(), wake=self._wake.set)
            self._stats = core.stats()
            log.info("ready: %s", "; ".join((self._stats.path, *self._stats.notes)))
            while not self._stopping:
                self.steps += 1
                runner.check()
                self._turn(core)
        except BaseException as error:  # whatever it was, requests must get their Result
            log.exception("the engine failed")
            is_sentence = isinstance(error, (ValueError, OSError, RankLost))
            detail = str(error) if is_sentence else repr(error)
            self._stats = EngineStats(state=WorkerState.FAILED, state_detail=detail)
            code = ErrorCode.MODEL_FAILED if core is None else ErrorCode.ENGINE_FAILED
            self._close(core, FinishReason.FAILED, code, detail)
        else:
            self._close(
                core, FinishReason.INTERRUPTED, ErrorCode.ENGINE_STOPPED, "The engine was stopped."
            )
        finally:
            if runner is not None:
                runner.close()

    def _turn(self, core: Core) -> None:
        """One turn: take in what came, run one step if there is one, hand its records on."""
        while self._inbox:
            core.admit(*self._inbox.popleft())
        while self._cancelled:
            core.cancel(self._cancelled.popleft())
        core.expire()
        while self._jobs:
            core.inspections.add(self._jobs.popleft())
        worked = core.step()
        worked = core.advance_inspection() or worked
        if not worked or time.monotonic() - self._stats_s > STATS_EVERY_S:
            self._stats, self._stats_s = core.stats(), time.monotonic()
        self._flush(core)
        if not worked:
            if not self._inbox:
                core.rest()
            self._wake.wait(IDLE_WAIT_S)
            self._wake.clear()

    def _flush(self, core: Core) -> None:
        """Hand the core's records to the output thread."""
        if core.records:
            records, core.records = core.records, []
            self._output.put(core.output, records)

    def _set_state(self, state: WorkerState, detail: str) -> None:
        self._stats = EngineStats(state=state, state_detail=detail)
        log.info("%s: %s", self.config.model_dir.name, detail)

    def _loading(self, request: GenerationRequest) -> Progress:
        return Progress(
            request_id=request.request_id,
            attempt=request.attempt,
            phase=Phase.LOADING,
            total=self._loader.weight_bytes,
        )

    def _close(self, core: Core | None, reason: FinishReason, code: ErrorCode, text: str) -> None:
        """Give everything that waits or runs its Result, and take no more."""
        with self._submit_lock:
            self._closed = True
        if core is not None:
            core.close(reason, code, text)
            self._flush(core)
        self._output.close()
        left = [self._refusal(request, reason, code, text) for request, _ in self._inbox]
        self._inbox.clear()
        while self._jobs:
            self._jobs.popleft().future.set_exception(RuntimeError(text))
        if left:
            self._output.emit(left)

    def _refusal(
        self, request: GenerationRequest, reason: FinishReason, code: ErrorCode, text: str
    ) -> Event:
        return refusal(request, reason, error_code=code, error_text=text, worker=self.config.worker)
