"""The engine: one thread that takes requests in and runs steps, and one that tells what happened.

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
from inference.engine.inspection.inspector import Inspection, InspectJob, InspectRequest
from inference.engine.loader import Source, folder_source
from inference.engine.model_runner import ModelRunner
from inference.engine.output import refuse
from inference.engine.output_thread import Teller
from inference.engine.parallel.tp_group import PartLost

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
IDLE_WAIT_S = 0.2
"""How often the step counter moves while there is nothing to do."""
STATUS_EVERY_S = 0.05
"""How often the status is made anew while steps follow each other."""


class Engine:
    """Serves one model. Every submitted request gets exactly one Result through `emit`.

    `emit` is called from the telling thread with all events of a step and should return soon: a few
    steps later the engine waits for it. What `submit` can answer by itself it tells from the
    caller's thread. `source` says where model and tokenizer come from; the model folder by default.
    `steps` moves with every turn of the loop, idle or not; a step that hangs stops it.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        emit: Callable[[list[Event]], None],
        source: Source | None = None,
    ) -> None:
        self.config = config
        self.steps = 0
        self._teller = Teller(emit)
        self._source = source or folder_source(config.model_dir)
        self._inbox: collections.deque[tuple[GenerationRequest, Stamp]] = collections.deque()
        self._cancelled: collections.deque[str] = collections.deque()
        self._jobs: collections.deque[InspectJob] = collections.deque()
        self._wake = threading.Event()
        self._door = threading.Lock()  # guards _closed: after it, nothing enters the inbox
        self._closed = False
        self._stopping = False
        self._status = EngineStats()
        self._told_s = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # --- from any thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine thread, which loads the model and then serves."""
        # A busy thread beside this one may hold the interpreter for 5 ms before it is asked to let
        # go: as long as a step. Half a millisecond costs the other threads nothing to speak of.
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        self._set_state(WorkerState.LOADING, "starting")
        self._teller.start()
        self._thread.start()

    def submit(self, request: GenerationRequest) -> None:
        """Put a request in line. Its events, and at last its Result, come through `emit`.

        A stopped or failed engine answers with a Result as well, and one that is still loading says
        so; both from the calling thread.
        """
        with self._door:
            if not self._closed:
                self._inbox.append((request, Stamp.now()))
                if self._status.state in (WorkerState.LOADING, WorkerState.WARMING):
                    self._teller.hand_on([self._loading(request)])
                self._wake.set()
                return
        text = self._status.state_detail or "The engine has stopped."
        self._teller.hand_on(
            [self._refusal(request, FinishReason.FAILED, ErrorCode.ENGINE_STOPPED, text)]
        )

    def cancel(self, request_id: str) -> None:
        """End a request within one step. Unknown or finished ones are ignored."""
        self._cancelled.append(request_id)
        self._wake.set()

    def inspect(self, request: InspectRequest) -> Future[Inspection]:
        """Look inside the model at one prefix, beside the running requests.

        The future raises ValueError for what is out of range, RuntimeError when the engine stops.
        """
        job = InspectJob(request, Future())
        with self._door:
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
        return self._status

    # --- the engine thread ----------------------------------------------------------------------

    def _run(self) -> None:
        core: Core | None = None
        runner: ModelRunner | None = None
        try:
            load = self._source.load_model
            with ThreadPoolExecutor(1, thread_name_prefix="engine-text") as aside:
                text = aside.submit(self._source.load_text)
                runner = ModelRunner(self.config, load=load, tell=self._set_state)
                core = Core(self.config, runner, text.result(), wake=self._wake.set)
            self._status = core.status()
            log.info("ready: %s", "; ".join((self._status.path, *self._status.notes)))
            while not self._stopping:
                self.steps += 1
                runner.check()
                self._turn(core)
        except BaseException as error:  # whatever it was, requests must get their Result
            log.exception("the engine failed")
            told = isinstance(error, (ValueError, OSError, PartLost))
            detail = str(error) if told else repr(error)
            self._status = EngineStats(state=WorkerState.FAILED, state_detail=detail)
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
        """One turn: take in what came, run one step if there is one, have told what happened."""
        while self._inbox:
            core.admit(*self._inbox.popleft())
        while self._cancelled:
            core.cancel(self._cancelled.popleft())
        core.expire()
        while self._jobs:
            core.inspections.add(self._jobs.popleft())
        worked = core.step()
        worked = core.inspect_a_piece() or worked
        if not worked or time.monotonic() - self._told_s > STATUS_EVERY_S:
            self._status, self._told_s = core.status(), time.monotonic()
        self._flush(core)
        if not worked:
            self._wake.wait(IDLE_WAIT_S)
            self._wake.clear()

    def _flush(self, core: Core) -> None:
        if core.records:
            records, core.records = core.records, []
            self._teller.put(core.answers.tell, records)

    def _set_state(self, state: WorkerState, detail: str) -> None:
        self._status = EngineStats(state=state, state_detail=detail)
        log.info("%s: %s", self.config.model_dir.name, detail)

    def _loading(self, request: GenerationRequest) -> Progress:
        return Progress(
            request_id=request.request_id,
            attempt=request.attempt,
            phase=Phase.LOADING,
            total=self._source.weight_bytes,
        )

    def _close(self, core: Core | None, reason: FinishReason, code: ErrorCode, text: str) -> None:
        """Give everything that waits or runs its Result, and take no more."""
        with self._door:
            self._closed = True
        if core is not None:
            core.close(reason, code, text)
            self._flush(core)
        self._teller.close()
        left = [self._refusal(request, reason, code, text) for request, _ in self._inbox]
        self._inbox.clear()
        while self._jobs:
            self._jobs.popleft().future.set_exception(RuntimeError(text))
        if left:
            self._teller.hand_on(left)

    def _refusal(
        self, request: GenerationRequest, reason: FinishReason, code: ErrorCode, text: str
    ) -> Event:
        return refuse(request, reason, error_code=code, error_text=text, worker=self.config.worker)
