"""One loaded model and the requests in it: takes them in, runs steps, records what happened.

All calls come from the engine thread; there are no threads, locks or clocks of waiting here. The
scheduler says what runs, the runner makes logits, the sampler tokens. What the records come to,
answers.py says, if need be while the next step runs.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

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
from inference.engine.answers import Answers, Ended, Given, Opened, Record, Served, refuse
from inference.engine.config import EngineConfig
from inference.engine.draws import NOT_FINITE
from inference.engine.grammar import AnswerGrammar, BadSchema
from inference.engine.inspection import CHUNK_BESIDE_OTHERS
from inference.engine.inspections import Inspections
from inference.engine.kv_cache import BlockPool
from inference.engine.loading import TextSide
from inference.engine.model_runner import ModelRunner, Sliced, num_logits
from inference.engine.pace import Pace
from inference.engine.request import ActiveRequest, RequestStatus
from inference.engine.sampler import WHY_NONE, Sampled, Sampler
from inference.engine.scheduler import Scheduled, Scheduler
from inference.engine.tensors import to_device
from inference.engine.vitals import Vitals

log = logging.getLogger(__name__)


class Core:
    """Requests of one model. `records` holds what happened since they were last taken.

    Every request that comes in gets an Ended, or a Result that refuses it. Whoever takes the
    records has `answers` tell them, in order. `wake` is called from another thread when a request
    that was being prepared can go on.
    """

    def __init__(
        self,
        config: EngineConfig,
        runner: ModelRunner,
        text: TextSide,
        *,
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        self._wake = wake
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
        self.served = Served(
            worker=config.worker,
            device=str(runner.device),
            dtype=runner.dtype,
            model_revision=text.revision,
            context_length=min(sizes.context_length, runner.num_blocks * size),
            eos_token_ids=text.eos_token_ids,
            speed=runner.speed,
            weight_bytes=sizes.weight_bytes,
            body_parameters=sizes.body_parameters,
            head_parameters=sizes.head_parameters,
            kv_bytes_per_token=sizes.kv_bytes_per_token,
            attention_flops_per_pair=sizes.attention_flops_per_pair,
            make_detokenizer=text.make_detokenizer,
        )
        self.answers = Answers(self.served)
        self._sampler = Sampler(
            vocab_size=sizes.vocab_size,
            eos_token_ids=sorted(text.eos_token_ids),
            device=runner.device,
            draws=runner.backend.draws(),
        )
        self._pace = Pace(
            max_gap_ratio=config.max_gap_ratio,
            max_pause_s=config.max_pause_s,
            step_tokens=config.step_tokens,
            num_layers=runner.backend.num_slices,
        )
        self._sliced: Sliced | None = None
        self._is_turn_of_slice = False
        self._grammars = text.make_grammars(sizes.vocab_size) if text.make_grammars else None
        self._background = ThreadPoolExecutor(1, thread_name_prefix="engine-background")
        self.inspections = Inspections(
            runner.make_inspector, background=self._background, wake=wake
        )
        self._preparing: dict[ActiveRequest, Future[AnswerGrammar]] = {}
        self._vitals = Vitals(runner, self.scheduler, self.served, text)
        self.status = self._vitals.status
        self._arrivals = 0
        self._alone: set[str] = set()  # requests to be run one by one after a step failed

    # --- in -------------------------------------------------------------------------------------

    def admit(self, request: GenerationRequest, started: Stamp) -> None:
        """Put a request in line, or refuse it with a Result that says why.

        One that is here already, by the same or a later attempt, is left alone: its Result serves
        both. A later attempt takes the place of an earlier one.
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
        tokens = [*request.prompt_token_ids, *request.continue_from]
        problem = self._problem(request, tokens)
        if problem is not None:
            self._refuse(request, *problem)
            return
        seed = request.sampling.seed
        active = ActiveRequest(
            request=request,
            token_ids=tokens,
            arrival=self._arrivals,
            seed=secrets.randbits(63) if seed is None else seed,
            started=started,
        )
        self._arrivals += 1
        if len(self.scheduler.waiting) + len(self._preparing) >= self.config.max_waiting:
            line = f"All {self.config.max_waiting} places in line are taken; try again later."
            self._refuse(request, ErrorCode.QUEUE_FULL, line)
            return
        self.active[active.id] = active
        self.records.append(Opened(active))
        if active.num_answer and (reason := self._ending(active, tokens[-1])) is not None:
            active.phase = RequestStatus.PREPARING
            self._finish(active, reason)
        elif request.constraint is None:
            self.scheduler.add(active)
        elif self._grammars is None:
            active.phase = RequestStatus.PREPARING
            self._fail(
                active, ErrorCode.BAD_SCHEMA, "Without a tokenizer no grammar can be followed."
            )
        else:
            active.phase = RequestStatus.PREPARING
            work = self._background.submit(
                self._grammars.start, *request.constraint, request.continue_from
            )
            self._preparing[active] = work
            work.add_done_callback(lambda _: self._wake())

    def _line_up_prepared(self) -> None:
        """Put in line those whose grammar is ready; refuse those whose schema is no good."""
        for active, work in [*self._preparing.items()]:
            if not work.done():
                continue
            del self._preparing[active]
            if active.phase is RequestStatus.FINISHED:
                continue
            try:
                active.grammar = work.result()
            except BadSchema as error:
                self._fail(active, ErrorCode.BAD_SCHEMA, str(error))
                continue
            if active.grammar.is_finished:  # its worker was lost just behind the last token
                self._finish(active, FinishReason.STOP)
                continue
            active.phase = RequestStatus.WAITING
            self.scheduler.add(active)

    def _problem(
        self, request: GenerationRequest, tokens: list[int]
    ) -> tuple[ErrorCode, str] | None:
        limit = self.served.context_length
        if not request.prompt_token_ids:
            return ErrorCode.EMPTY_PROMPT, "The prompt has no tokens."
        is_scored_alone = request.echo_logprobs is not None and request.sampling.max_tokens == 1
        if len(tokens) > (limit if is_scored_alone else limit - 1):
            return (
                ErrorCode.PROMPT_TOO_LONG,
                f"The prompt has {len(tokens)} tokens; the context holds {limit}, answer included.",
            )
        top = self.runner.sizes.vocab_size
        if min(tokens) < 0 or max(tokens) >= top:
            return ErrorCode.BAD_TOKEN, f"Token ids must lie between 0 and {top - 1}."
        return None

    def inspect_a_piece(self) -> bool:
        """Advance the inspection under way by one piece. False if there is nothing to do."""
        busy = bool(self.scheduler.running)
        size = CHUNK_BESIDE_OTHERS if busy else self.config.step_tokens
        return self.inspections.advance(max_tokens=size)

    # --- a step ---------------------------------------------------------------------------------

    def step(self) -> bool:
        """Run one step, or a slice of what runs between steps. False if nothing could run."""
        scheduler = self.scheduler
        self._drop_over()
        if self._preparing:
            self._line_up_prepared()
        decoding = sum(1 for active in scheduler.running if active.is_decoding)
        prefilling = len(self.active) - len(self._preparing) - decoding
        if scheduler.aside is not None and (self._is_turn_of_slice or decoding == 0):
            self._run_slice(scheduler.aside, decoding=decoding, prefilling=prefilling)
            return True
        scheduled = scheduler.schedule(
            step_tokens=self.config.step_tokens,
            allowance=self._pace.allowance(decoding=decoding, prefilling=prefilling),
        )
        self._is_turn_of_slice = True
        if not scheduled:
            return scheduler.aside is not None
        if self._alone:
            scheduled = self._single_out(scheduled)
        begin = time.monotonic()
        if self._run(scheduled, lambda: self.runner.step(scheduled)):
            self._pace.observe(
                decoding=sum(1 for item in scheduled if item.is_decode),
                prefill_tokens=sum(item.num_tokens for item in scheduled if not item.is_decode),
                step_s=time.monotonic() - begin,
            )
        return True

    def _run_slice(self, item: Scheduled, *, decoding: int, prefilling: int) -> None:
        """Run some layers of the chunk beside the steps; all that are left if nobody decodes."""
        self._is_turn_of_slice = False
        begin = time.monotonic()
        if self._sliced is None or self._sliced.item is not item:
            self._sliced = Sliced(item)
        sliced, before = self._sliced, self._sliced.num_run
        layers = self.runner.backend.num_slices
        if decoding:
            layers = self._pace.layers(item.num_tokens, decoding=decoding, prefilling=prefilling)
        self._run([item], lambda: self.runner.run_slice(sliced, layers))
        if sliced.num_run > before:
            self._pace.observe_aside(
                tokens=item.num_tokens,
                layers=sliced.num_run - before,
                spent_s=time.monotonic() - begin,
            )

    def _run(self, scheduled: list[Scheduled], forward: Callable[[], torch.Tensor | None]) -> bool:
        """Compute these, and tell what came of it. False if that failed, or is not through yet."""
        for item in scheduled:
            if item.request.admitted is None:
                item.request.admitted = Stamp.now()
                self._tell_prefill(item.request)
        try:
            logits = forward()
            if logits is None:
                return False
            echo = self._echo(scheduled, logits)
            sampled = self._sample(scheduled, logits)
        except Exception as error:
            log.exception("a step of %d requests failed", len(scheduled))
            self._recover(scheduled, error)
            return False
        self.scheduler.advance(scheduled)
        self._collect(scheduled, sampled, echo)
        return True

    def _sample(self, scheduled: list[Scheduled], logits: torch.Tensor) -> Sampled | None:
        """The next tokens of the rows that are due; None when none is."""
        rows, due, at = [], [], 0
        for item in scheduled:
            at += num_logits(item)
            if item.samples:
                rows.append(at - 1)
                due.append(item.request)
        if not due:
            return None
        if len(rows) != len(logits):
            logits = logits[to_device(rows, torch.int64, logits.device)]
        return self._sampler.sample(logits, due)

    def _echo(
        self, scheduled: list[Scheduled], logits: torch.Tensor
    ) -> dict[ActiveRequest, list[TokenLogprobs]]:
        """Log-probabilities of prompt tokens, each under what came before it.

        They are those of tokens 1 to n - 1: nothing came before the first.
        """
        found, at = {}, 0
        for item in scheduled:
            request = item.request.request
            if item.request.wants_echo and request.echo_logprobs is not None:
                begin = item.request.num_computed + 1
                following = request.prompt_token_ids[begin : begin + item.num_tokens]
                if following:
                    top = [request.echo_logprobs] * len(following)
                    rows = logits[at : at + len(following)]
                    found[item.request] = self._sampler.logprobs(rows, following, top)
            at += num_logits(item)
        return found

    def _collect(
        self,
        scheduled: list[Scheduled],
        sampled: Sampled | None,
        echo: dict[ActiveRequest, list[TokenLogprobs]],
    ) -> None:
        """Give each request its token, and tell about it. Nobody's error is another's."""
        for active, entries in echo.items():
            active.echo += entries
        width, row, now = len(scheduled), 0, time.monotonic_ns()
        for item in scheduled:
            active = item.request
            if not item.samples or sampled is None:
                self._tell_prefill(active)
                continue
            token, logprobs = sampled.token_ids[row], sampled.logprobs[row]
            row += 1
            if token < 0:
                self._fail(active, *WHY_NONE[token], poisoned=token == NOT_FINITE)
                continue
            active.append(token)
            try:
                if active.grammar is not None:
                    active.grammar.accept(token)
            except Exception:
                log.exception("a grammar did not take the token it had allowed")
                self._fail(active, ErrorCode.ENGINE_ERROR, "The answer left its schema.")
                continue
            self.records.append(Given(active, token, now, width, logprobs))
            if (reason := self._ending(active, token)) is not None:
                self._finish(active, reason)
        self._vitals.sampled(row)

    def _tell_prefill(self, active: ActiveRequest) -> None:
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
        """Why an answer is over with this token, as far as tokens alone can say."""
        sampling = active.request.sampling
        if self.served.is_end(token, sampling):
            return FinishReason.STOP
        if active.grammar is not None and active.grammar.is_finished:
            return FinishReason.STOP
        if active.num_answer >= sampling.max_tokens:
            return FinishReason.LENGTH
        return FinishReason.LENGTH if len(active.token_ids) >= self.served.context_length else None

    def _drop_over(self) -> None:
        """Let go of requests whose answer ended at a stop string."""
        while self.answers.over:
            active = self.answers.over.popleft()
            if active.phase is not RequestStatus.FINISHED:
                self.scheduler.finish(active)
                self._forget(active)

    def _finish(self, active: ActiveRequest, reason: FinishReason) -> None:
        self.scheduler.finish(active)
        self._forget(active)
        self.records.append(Ended(active, reason))

    def _fail(
        self, active: ActiveRequest, code: ErrorCode, text: str, poisoned: bool = False
    ) -> None:
        """End a request as failed. `poisoned` keys and values are wiped and never reused."""
        freed = self.scheduler.finish(active, poisoned=poisoned)
        if poisoned and freed:
            self.runner.backend.clear_blocks(freed)
        self._forget(active)
        self.records.append(Ended(active, FinishReason.FAILED, code, text))

    def _forget(self, active: ActiveRequest) -> None:
        del self.active[active.id]
        self._alone.discard(active.id)

    def _recover(self, scheduled: list[Scheduled], error: Exception) -> None:
        """After a failed step: run its requests one by one, so that only the culprit fails."""
        memory = isinstance(error, MemoryError) or "alloc" in str(error).lower()
        memory = memory or isinstance(error, torch.OutOfMemoryError)
        if memory and self.runner.device.type == "cuda":
            torch.cuda.empty_cache()
        still = [item.request for item in scheduled if item.request.id in self.active]
        if len(scheduled) > 1:
            self._alone.update(active.id for active in still)
            return
        for active in still:
            if memory:
                self._fail(active, ErrorCode.OUT_OF_MEMORY, "There was not enough memory.", True)
            else:
                self._fail(
                    active, ErrorCode.ENGINE_ERROR, "The model failed on this request.", True
                )

    def _single_out(self, scheduled: list[Scheduled]) -> list[Scheduled]:
        """Only the first of those that have to run alone."""
        for item in scheduled:
            if item.request.id in self._alone:
                self._alone.discard(item.request.id)
                return [item]
        return scheduled

    def _refuse(self, request: GenerationRequest, code: ErrorCode, text: str) -> None:
        worker = self.config.worker
        self.records.append(refuse(request, error_code=code, error_text=text, worker=worker))

    def close(self, reason: FinishReason, code: ErrorCode, text: str) -> None:
        """End every request that waits or runs."""
        self._background.shutdown(wait=False, cancel_futures=True)
        self.records += [Ended(active, reason, code, text) for active in self.active.values()]
        self.active.clear()
        self.inspections.close(text)
