"""One loaded model and the requests in it: takes them in, runs steps, records what happened.

All calls come from the engine thread; nothing here starts a thread, takes a lock or waits. The
scheduler decides what runs, the runner makes logits, the sampler tokens. output.py makes events of
the records, if need be while the next step runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from inference.contract import (
    ErrorCode,
    FinishReason,
    GenerationRequest,
    Phase,
    Progress,
    Stamp,
    TokenLogprobs,
)
from inference.engine.active_request import ActiveRequest, RequestStatus
from inference.engine.admission import GrammarCompiler, find_problem
from inference.engine.config import EngineConfig
from inference.engine.device import is_out_of_memory
from inference.engine.engine_stats import EngineStatsBuilder
from inference.engine.inspection.inspection_queue import InspectionQueue
from inference.engine.inspection.inspector import CHUNK_BESIDE_OTHERS
from inference.engine.loader import TextArtifacts
from inference.engine.model_runner import ModelRunner
from inference.engine.output import (
    OutputProcessor,
    Record,
    RequestAdded,
    RequestFinished,
    TokenSampled,
    refusal,
)
from inference.engine.sampling.grammar import BadSchema
from inference.engine.sampling.sampler import WHY_NO_TOKEN, Sampled, Sampler
from inference.engine.sampling.sampling_backend import NOT_FINITE
from inference.engine.scheduling.kv_cache import BlockPool
from inference.engine.scheduling.scheduler import Scheduled, Scheduler
from inference.engine.served_model import ServedModelInfo
from inference.engine.step_output import echo_logprobs, sample_tokens
from inference.engine.step_planner import StepPlanner

log = logging.getLogger(__name__)

KEEP_FREE_BLOCKS_S = 600.0
"""A beginning that nobody has asked for so long is computed anew, and its memory given back."""
GIVE_BACK_BLOCKS = 64
"""At once: a request that comes in between waits for milliseconds."""
LOOK_FOR_BLOCKS_S = 10.0


class Core:
    """Requests of one model. `records` holds what happened since they were last taken.

    Every request that comes in gets a RequestFinished, or a Result that refuses it. The caller
    takes the records and has `output` process them, in order. `wake` is called from another thread
    when a request that was being prepared can go on.
    """

    def __init__(
        self,
        config: EngineConfig,
        runner: ModelRunner,
        text: TextArtifacts,
        *,
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        self.config = config
        self.runner = runner
        self.text = text
        self.records: list[Record] = []
        self.active: dict[str, ActiveRequest] = {}
        size, sizes = runner.backend.block_tokens, runner.sizes
        self.pool = BlockPool(runner.num_blocks, size, reuse=config.prefix_cache)
        windows = [spec.window for spec in runner.backend.layers]
        self.scheduler = Scheduler(
            self.pool,
            max_running=config.max_running,
            window=max(windows) if all(windows) else 0,
        )
        self.served = ServedModelInfo(
            worker=config.worker,
            device=str(runner.device),
            dtype=runner.dtype,
            model_revision=text.revision,
            context_length=min(sizes.context_length, runner.num_blocks * size),
            eos_token_ids=text.eos_token_ids,
            speed_meter=runner.speed_meter,
            sizes=sizes,
            make_detokenizer=text.make_detokenizer,
        )
        self.output = OutputProcessor(self.served)
        self._sampler = Sampler(
            vocab_size=sizes.vocab_size,
            eos_token_ids=sorted(text.eos_token_ids),
            device=runner.device,
            backend=runner.backend.sampling_backend(),
        )
        self._planner = StepPlanner(config, runner, self.scheduler)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="engine-background")
        self._compiler = GrammarCompiler(
            text.make_grammars(sizes.vocab_size) if text.make_grammars else None,
            background=self._background,
            wake=wake,
        )
        self.inspections = InspectionQueue(
            runner.make_inspector, background=self._background, wake=wake
        )
        self._stats_builder = EngineStatsBuilder(runner, self.scheduler, self.served, text)
        self.stats = self._stats_builder.build
        self._arrivals = 0
        self._gives_back_at = 0.0

    # --- in -------------------------------------------------------------------------------------

    def admit(self, request: GenerationRequest, started: Stamp) -> None:
        """Put a request in the queue, or refuse it with a Result that says why.

        A request that is here already, in the same or a later attempt, is left alone: its Result
        serves both. A later attempt takes the place of an earlier one.

        The request's builder has drawn its seed.
        """
        known = self.active.get(request.request_id)
        if known is not None:
            if request.attempt <= known.request.attempt:
                log.warning("request %s was submitted twice", request.request_id)
                return
            self._finish(known, FinishReason.INTERRUPTED)
        try:
            self._admit(request, started)
        except Exception:
            log.exception("a request could not be taken in")
            self._refuse(request, ErrorCode.ENGINE_ERROR, "The engine could not read this request.")

    def cancel(self, request_id: str) -> None:
        """End a request now, wherever it is. Unknown or finished ones are ignored."""
        if request_id in self.active:
            self._finish(self.active[request_id], FinishReason.CANCELLED)

    def expire(self) -> None:
        """End requests that waited for their first step longer than they wanted to."""
        now_ns = time.monotonic_ns()
        for active in list(self.scheduler.waiting):
            waited_s = (now_ns - active.started.mono_ns) / 1e9
            if active.admitted is None and waited_s > active.request.expires_s:
                self._fail(active, ErrorCode.EXPIRED, "The request waited too long for its turn.")

    def _admit(self, request: GenerationRequest, started: Stamp) -> None:
        problem = find_problem(
            request,
            context_length=self.served.context_length,
            vocab_size=self.runner.sizes.vocab_size,
        )
        if problem is not None:
            self._refuse(request, *problem)
            return
        seed = request.sampling.seed
        assert seed is not None, "the builder of a request draws its seed"
        active = ActiveRequest(
            request=request,
            token_ids=[*request.prompt_token_ids, *request.continue_from],
            arrival=self._arrivals,
            seed=seed,
            started=started,
            status=RequestStatus.PREPARING,
        )
        self._arrivals += 1
        if len(self.scheduler.waiting) + len(self._compiler) >= self.config.max_waiting:
            text = f"All {self.config.max_waiting} places in the queue are taken; try again later."
            self._refuse(request, ErrorCode.QUEUE_FULL, text)
            return
        self.active[active.id] = active
        self.records.append(RequestAdded(active))
        if active.num_answer and (reason := self._ending(active, active.token_ids[-1])) is not None:
            self._finish(active, reason)
        elif request.constraint is None:
            self.scheduler.add(active)
        else:
            try:
                self._compiler.start(active)
            except BadSchema as error:
                self._fail(active, ErrorCode.BAD_SCHEMA, str(error))

    def _queue_prepared(self) -> None:
        """Queue the requests whose grammar is ready; fail those whose schema can't be followed."""
        for active, grammar in self._compiler.ready():
            if active.status is RequestStatus.FINISHED:
                continue
            if isinstance(grammar, BadSchema):
                self._fail(active, ErrorCode.BAD_SCHEMA, str(grammar))
                continue
            active.grammar = grammar
            if grammar.is_finished:  # a worker was lost after the last token, before its end
                self._finish(active, FinishReason.STOP)
            else:
                self.scheduler.add(active)

    def advance_inspection(self) -> bool:
        """Advance the inspection under way by one piece. False if there is nothing to do."""
        busy = bool(self.scheduler.running)
        size = CHUNK_BESIDE_OTHERS if busy else self.runner.step_tokens
        return self.inspections.advance(max_tokens=size)

    def rest(self) -> None:
        """What is done while there is nothing to do: give memory back, measure the machine anew."""
        now_s = time.monotonic()
        if now_s >= self._gives_back_at:
            free_since = now_s - KEEP_FREE_BLOCKS_S
            blocks = self.pool.take_memory(free_since=free_since, most=GIVE_BACK_BLOCKS)
            self.runner.backend.give_back(blocks)
            self._gives_back_at = now_s if blocks else now_s + LOOK_FOR_BLOCKS_S
        self.runner.rest(now_s)

    # --- a step ---------------------------------------------------------------------------------

    def step(self) -> bool:
        """Run one step, or layers of the chunk between steps. False if nothing could run."""
        self._reap_stopped()
        if self._compiler:
            self._queue_prepared()
        planned = self._planner.plan(num_queued=len(self.active) - len(self._compiler))
        if planned is None:
            return self.scheduler.interleaved is not None
        self.runner.speed_meter.note_work()
        begin = time.monotonic()
        is_done = self._run(planned.items, planned.forward)
        planned.observe(is_done, time.monotonic() - begin)
        return True

    def _run(self, scheduled: list[Scheduled], forward: Callable[[], torch.Tensor | None]) -> bool:
        """Compute these and record the outcome. False if that failed, or layers are left to run."""
        for item in scheduled:
            if item.request.admitted is None:
                item.request.admitted = Stamp.now()
                self._record_prefill(item.request)
        try:
            logits = forward()
            if logits is None:
                return False
            echo = echo_logprobs(self._sampler, scheduled, logits)
            sampled = sample_tokens(self._sampler, scheduled, logits)
        except Exception as error:
            log.exception("a step of %d requests failed", len(scheduled))
            self._recover(scheduled, error)
            return False
        self.scheduler.advance(scheduled)
        self._collect(scheduled, sampled, echo)
        return True

    def _collect(
        self,
        scheduled: list[Scheduled],
        sampled: Sampled | None,
        echo: dict[ActiveRequest, list[TokenLogprobs]],
    ) -> None:
        """Give each request its token and record it. An error of one doesn't touch the others."""
        for active, entries in echo.items():
            active.echo += entries
        width, row, now = len(scheduled), 0, time.monotonic_ns()
        for item in scheduled:
            active = item.request
            if not item.samples or sampled is None:
                self._record_prefill(active)
                continue
            token, logprobs = sampled.token_ids[row], sampled.logprobs[row]
            kept = sampled.records[row]
            row += 1
            if token < 0:
                self._fail(active, *WHY_NO_TOKEN[token], poisoned=token == NOT_FINITE)
                continue
            active.append(token)
            try:
                if active.grammar is not None:
                    active.grammar.accept(token)
            except Exception:
                log.exception("a grammar did not take the token it had allowed")
                self._fail(active, ErrorCode.ENGINE_ERROR, "The answer left its schema.")
                continue
            self.records.append(TokenSampled(active, token, now, width, logprobs, kept))
            if (reason := self._ending(active, token)) is not None:
                self._finish(active, reason)
        self._stats_builder.count_sampled(row)

    def _record_prefill(self, active: ActiveRequest) -> None:
        """Record how much of the prompt is computed, until the first token comes."""
        if not active.has_sampled:
            self.records.append(
                Progress(
                    request_id=active.id,
                    attempt=active.request.attempt,
                    phase=Phase.PREFILL,
                    done=active.num_computed,
                    total=active.num_prompt + len(active.request.continue_from),
                    mono_ns=active.admitted.mono_ns if active.admitted else 0,
                )
            )

    # --- endings --------------------------------------------------------------------------------

    def _ending(self, active: ActiveRequest, token: int) -> FinishReason | None:
        """Why an answer ends with this token, by its tokens alone; None if it goes on."""
        sampling = active.request.sampling
        if self.served.is_end(token, sampling):
            return FinishReason.STOP
        if active.grammar is not None and active.grammar.is_finished:
            return FinishReason.STOP
        if active.num_answer >= sampling.max_tokens:
            return FinishReason.LENGTH
        return FinishReason.LENGTH if len(active.token_ids) >= self.served.context_length else None

    def _reap_stopped(self) -> None:
        """Drop the requests whose answer ended at a stop string."""
        while self.output.stopped_by_text:
            active = self.output.stopped_by_text.popleft()
            if active.status is not RequestStatus.FINISHED:
                self.scheduler.finish(active)
                self._forget(active)

    def _finish(self, active: ActiveRequest, reason: FinishReason) -> None:
        self.scheduler.finish(active)
        self._forget(active)
        self.records.append(RequestFinished(active, reason))

    def _fail(
        self, active: ActiveRequest, code: ErrorCode, text: str, *, poisoned: bool = False
    ) -> None:
        """End a request as failed. `poisoned` keys and values are zeroed and never reused."""
        freed = self.scheduler.finish(active, poisoned=poisoned)
        if poisoned and freed:
            self.runner.backend.clear_blocks(freed)
        self._forget(active)
        self.records.append(RequestFinished(active, FinishReason.FAILED, code, text))

    def _forget(self, active: ActiveRequest) -> None:
        del self.active[active.id]
        self._planner.forget(active)

    def _recover(self, scheduled: list[Scheduled], error: Exception) -> None:
        """After a failed step: have its requests run one by one, so that only the culprit fails."""
        memory = is_out_of_memory(error)
        if memory and self.runner.device.type == "cuda":
            torch.cuda.empty_cache()
        still = [item.request for item in scheduled if item.request.id in self.active]
        if len(scheduled) > 1:
            self._planner.isolate(still)
            return
        for active in still:
            if memory:
                self._fail(
                    active, ErrorCode.OUT_OF_MEMORY, "There was not enough memory.", poisoned=True
                )
            else:
                self._fail(
                    active,
                    ErrorCode.ENGINE_ERROR,
                    "The model failed on this request.",
                    poisoned=True,
                )

    def _refuse(self, request: GenerationRequest, code: ErrorCode, text: str) -> None:
        worker = self.config.worker
        self.records.append(refusal(request, error_code=code, error_text=text, worker=worker))

    def close(self, reason: FinishReason, code: ErrorCode, text: str) -> None:
        """End every request that waits or runs."""
        self._background.shutdown(wait=False, cancel_futures=True)
        self.records += [
            RequestFinished(active, reason, code, text) for active in self.active.values()
        ]
        self.active.clear()
        self.inspections.close(text)
