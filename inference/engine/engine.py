"""The engine: one thread that takes requests in, runs steps, and tells what happened.

`submit`, `cancel` and `status` may be called from any thread and return at once. All torch work,
from loading on, happens in the engine's own thread: two pools of torch threads on the same cores
cost three times the step. Knows no Redis, no Celery, no site.
"""

from __future__ import annotations

import collections
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from inference.contract import Event, FinishReason, GenerationRequest, Progress, Result, Stamp
from inference.engine.answers import Served, close_answer, open_answer, refuse, take_token
from inference.engine.backend import Unsupported
from inference.engine.config import EngineConfig
from inference.engine.kv_cache import BlockPool
from inference.engine.loading import Source, folder_source
from inference.engine.model_runner import ModelRunner, num_logits
from inference.engine.request import ActiveRequest
from inference.engine.sampler import Sampler, logprobs_of
from inference.engine.scheduler import QueueFull, Scheduled, Scheduler

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.2
"""How often the step counter moves while there is nothing to do."""

State = Literal["empty", "loading", "warming", "ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A moment of the engine, for the worker's snapshot. Sizes in bytes."""

    state: State = "empty"
    state_detail: str = ""
    device: str = ""
    dtype: str = ""
    path: str = ""
    threads: int = 0
    running: int = 0
    waiting: int = 0
    kv_blocks_used: int = 0
    kv_blocks_total: int = 0
    kv_block_tokens: int = 0
    tokens_per_s: float = 0.0
    memory_used: int = 0
    memory_total: int = 0
    bandwidth_bytes_s: float = 0.0
    flops_s: float = 0.0
    context_length: int = 0
    model_revision: str = ""
    notes: tuple[str, ...] = ()
    model_info: dict[str, Any] = field(default_factory=dict)


class Engine:
    """Serves one model. Every submitted request gets exactly one Result through `emit`.

    `emit` is called from the engine thread with all events of a step and must return at once.
    `source` says where model and tokenizer come from; the model folder by default.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        emit: Callable[[list[Event]], None],
        source: Source | None = None,
    ) -> None:
        self.config = config
        self.steps = 0  # moves with every turn of the loop; a step that hangs stops it
        self._emit = emit
        self._source = source or folder_source(config.model_dir)
        self._inbox: collections.deque[GenerationRequest] = collections.deque()
        self._cancelled: collections.deque[str] = collections.deque()
        self._wake = threading.Event()
        self._stopping = False
        self._closed = False  # no more requests are taken; guarded by _door
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._active: dict[str, ActiveRequest] = {}
        self._arrivals = 0
        self._events: list[Event] = []
        self._status = EngineStatus()
        self._alone: set[str] = set()  # requests to be run one by one after a step failed
        self._recent: collections.deque[tuple[float, int]] = collections.deque(maxlen=256)

    # --- from any thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine thread, which loads the model and then serves."""
        self._status = EngineStatus(state="loading")
        self._thread.start()

    def submit(self, request: GenerationRequest) -> None:
        """Put a request in line. Its events, and at last its Result, come through `emit`.

        A stopped or failed engine answers with a Result as well, from the calling thread.
        """
        with self._door:
            if not self._closed:
                self._inbox.append(request)
                self._wake.set()
                return
        text = self._status.state_detail or "The engine has stopped."
        self._emit([self._refusal(request, "engine_stopped", text)])

    def cancel(self, request_id: str) -> None:
        """End a request within one step. Unknown or finished ones are ignored."""
        self._cancelled.append(request_id)
        self._wake.set()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End all requests as interrupted and the thread with them; False if it didn't in time."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def status(self) -> EngineStatus:
        """The engine as it was after the last step."""
        return self._status

    # --- the engine thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._load()
        except BaseException as error:  # whatever it was, requests must get their Result
            log.exception("the model could not be loaded")
            detail = str(error) if isinstance(error, (Unsupported, OSError)) else repr(error)
            self._status = EngineStatus(state="failed", state_detail=detail)
            self._close("failed", "model_failed", detail)
            return
        try:
            while not self._stopping:
                self.steps += 1
                self._turn()
        except BaseException as error:
            log.exception("the engine thread failed")
            self._status = EngineStatus(state="failed", state_detail=repr(error))
            self._close("failed", "engine_failed", "The engine failed and has to be restarted.")
            return
        self._close("interrupted", "engine_stopped", "The engine was stopped.")

    def _load(self) -> None:
        config = self.config
        self._announce_loading()
        self._runner = runner = ModelRunner(config, load=self._source.load_model)
        tokens = self._source.load_text()
        size = runner.backend.block_tokens
        self._pool = BlockPool(runner.num_blocks, size, reuse=config.prefix_cache)
        self._scheduler = Scheduler(
            self._pool, max_running=config.max_running, max_waiting=config.max_waiting
        )
        self._sampler = Sampler(
            vocab_size=runner.sizes.vocab_size,
            eos_token_ids=sorted(tokens.eos_token_ids),
            device=runner.device,
        )
        sizes = runner.sizes
        self._served = Served(
            worker=config.worker,
            device=str(runner.device),
            dtype=runner.dtype,
            model_revision=tokens.revision,
            context_length=min(sizes.context_length, runner.num_blocks * size),
            eos_token_ids=tokens.eos_token_ids,
            speed=runner.speed,
            weight_bytes=sizes.weight_bytes,
            body_parameters=sizes.body_parameters,
            head_parameters=sizes.head_parameters,
            kv_bytes_per_token=sizes.kv_bytes_per_token,
            attention_flops_per_pair=sizes.attention_flops_per_pair,
            make_detokenizer=tokens.make_detokenizer,
        )
        self._model_info = tokens.info
        self._update_status()

    def _turn(self) -> None:
        """One turn: take in what came, run one step if there is one, tell what happened."""
        self._take_in()
        worked = self._step() if self._active else False
        if self._events:
            events, self._events = self._events, []
            self._emit(events)
        self._update_status()
        if not worked:
            self._wake.wait(IDLE_WAIT_S)
            self._wake.clear()

    def _take_in(self) -> None:
        while self._inbox:
            self._admit(self._inbox.popleft())
        while self._cancelled:
            active = self._active.get(self._cancelled.popleft())
            if active is not None:
                self._finish(active, "cancelled")
        for active in list(self._scheduler.waiting):
            waited_s = (time.monotonic_ns() - active.started.mono_ns) / 1e9
            if active.admitted is None and waited_s > active.request.expires_s:
                self._fail(active, "expired", "The request waited too long for its turn.")

    def _admit(self, request: GenerationRequest) -> None:
        tokens = [*request.prompt_token_ids, *request.continue_from]
        problem = self._problem(request, tokens)
        if problem is not None:
            self._events.append(self._refusal(request, *problem))
            return
        seed = request.sampling.seed
        active = ActiveRequest(
            request=request,
            token_ids=tokens,
            arrival=self._arrivals,
            seed=secrets.randbits(63) if seed is None else seed,
            started=Stamp.now(),
        )
        self._arrivals += 1
        try:
            open_answer(active, self._served)
            self._scheduler.add(active)
        except QueueFull:
            line = f"All {self.config.max_waiting} places in line are taken; try again later."
            self._events.append(self._refusal(request, "queue_full", line))
            return
        self._active[active.id] = active
        if active.num_answer >= request.sampling.max_tokens:
            self._finish(active, "length")

    def _problem(self, request: GenerationRequest, tokens: list[int]) -> tuple[str, str] | None:
        limit = self._served.context_length
        if request.request_id in self._active:
            return "duplicate", "A request with this id is running already."
        if not request.prompt_token_ids:
            return "empty_prompt", "The prompt has no tokens."
        if len(tokens) >= limit:
            return (
                "prompt_too_long",
                f"The prompt has {len(tokens)} tokens and leaves no room for an answer: "
                f"the context holds {limit}.",
            )
        top = self._runner.sizes.vocab_size
        if min(tokens) < 0 or max(tokens) >= top:
            return "bad_token", f"Token ids must lie between 0 and {top - 1}."
        return None

    def _step(self) -> bool:
        """Run one step. False if nothing could run."""
        scheduled = self._scheduler.schedule(
            step_tokens=self.config.step_tokens, prefill_tokens=self.config.step_tokens
        )
        if not scheduled:
            return False
        if self._alone:
            scheduled = self._single_out(scheduled)
        for item in scheduled:
            if item.request.admitted is None:
                item.request.admitted = Stamp.now()
        try:
            logits = self._runner.step(scheduled)
            self._scheduler.advance(scheduled)
            self._collect(scheduled, logits)
        except Exception as error:
            self._recover(scheduled, error)
        return True

    def _collect(self, scheduled: list[Scheduled], logits: torch.Tensor) -> None:
        """Sample the rows that are due and give each request its events."""
        rows: list[int] = []
        sampling: list[ActiveRequest] = []
        at = 0
        for item in scheduled:
            count = num_logits(item)
            if item.request.wants_echo:
                self._collect_echo(item, logits[at : at + count])
            at += count
            if item.samples:
                rows.append(at - 1)
                sampling.append(item.request)
            else:
                self._tell_prefill(item.request)
        if not sampling:
            return
        picked = logits if len(rows) == logits.shape[0] else logits[rows]
        result = self._sampler.sample(picked, sampling)
        width = len(scheduled)
        for active, token, ok, logprobs in zip(
            sampling, result.token_ids, result.is_finite, result.logprobs, strict=True
        ):
            if not ok:
                self._fail(active, "bad_logits", "The model's output was not a number.", True)
                continue
            if active.token_mono_ns:
                active.decode_steps += 1
                active.batch_sum += width
            delta, reason = take_token(active, token, logprobs, self._served)
            self._events.append(delta)
            if reason is not None:
                self._finish(active, reason)
        self._recent.append((time.monotonic(), len(sampling)))

    def _collect_echo(self, item: Scheduled, logits: torch.Tensor) -> None:
        """Log-probabilities of the prompt's tokens 1 to n - 1, each under what came before it."""
        active = item.request
        begin = active.num_computed - item.num_tokens
        following = active.request.prompt_token_ids[begin + 1 : begin + 1 + item.num_tokens]
        if following:
            top = active.request.echo_logprobs or 0
            active.echo += logprobs_of(logits[: len(following)], following, [top] * len(following))

    def _tell_prefill(self, active: ActiveRequest) -> None:
        if not active.token_mono_ns:
            self._events.append(
                Progress(
                    request_id=active.id,
                    attempt=active.request.attempt,
                    phase="prefill",
                    done=active.num_computed,
                    total=active.num_prompt + len(active.request.continue_from),
                )
            )

    # --- endings --------------------------------------------------------------------------------

    def _finish(self, active: ActiveRequest, reason: FinishReason) -> None:
        self._scheduler.finish(active)
        self._forget(active)
        self._events.append(close_answer(active, self._served, reason))

    def _fail(self, active: ActiveRequest, code: str, text: str, spoiled: bool = False) -> None:
        """End a request as failed. `spoiled` keys and values are wiped and never reused."""
        freed = self._scheduler.finish(active, spoiled=spoiled)
        if spoiled and freed:
            self._runner.backend.clear_blocks(freed)
        self._forget(active)
        self._events.append(
            close_answer(active, self._served, "failed", error_code=code, error_text=text)
        )

    def _forget(self, active: ActiveRequest) -> None:
        del self._active[active.id]
        self._alone.discard(active.id)

    def _recover(self, scheduled: list[Scheduled], error: Exception) -> None:
        """After a failed step: run its requests one by one, so that only the culprit fails."""
        memory = isinstance(error, MemoryError) or "alloc" in str(error).lower()
        memory = memory or isinstance(error, torch.OutOfMemoryError)
        if memory and self._runner.device.type == "cuda":
            torch.cuda.empty_cache()
        still = [item.request for item in scheduled if item.request.id in self._active]
        log.error("a step of %d requests failed: %r", len(scheduled), error)
        if len(scheduled) > 1:
            self._alone.update(active.id for active in still)
            return
        for active in still:
            if memory:
                self._fail(active, "out_of_memory", "There was not enough memory.", True)
            else:
                self._fail(active, "engine_error", "The model failed on this request.", True)

    def _single_out(self, scheduled: list[Scheduled]) -> list[Scheduled]:
        """Only the first of those that have to run alone."""
        for item in scheduled:
            if item.request.id in self._alone:
                self._alone.discard(item.request.id)
                return [item]
        return scheduled

    def _close(self, reason: FinishReason, code: str, text: str) -> None:
        """Give everything that waits or runs its Result, and take no more."""
        with self._door:
            self._closed = True
        served = getattr(self, "_served", None)
        for active in list(self._active.values()):
            self._events.append(
                close_answer(active, served, reason, error_code=code, error_text=text)
            )
        self._active.clear()
        while self._inbox:
            self._events.append(self._refusal(self._inbox.popleft(), code, text, reason))
        if self._events:
            events, self._events = self._events, []
            self._emit(events)

    def _refusal(
        self, request: GenerationRequest, code: str, text: str, reason: FinishReason = "failed"
    ) -> Result:
        return refuse(request, reason, error_code=code, error_text=text, worker=self.config.worker)

    # --- what others see ------------------------------------------------------------------------

    def _announce_loading(self) -> None:
        events: list[Event] = [
            Progress(request_id=request.request_id, attempt=request.attempt, phase="loading")
            for request in list(self._inbox)
        ]
        if events:
            self._emit(events)

    def _update_status(self) -> None:
        runner, scheduler = self._runner, self._scheduler
        self._status = EngineStatus(
            state="ready",
            device=self._served.device,
            dtype=self._served.dtype,
            path=runner.backend.name,
            threads=runner.threads,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            kv_blocks_used=self._pool.num_blocks - self._pool.num_free,
            kv_blocks_total=self._pool.num_blocks,
            kv_block_tokens=self._pool.block_tokens,
            tokens_per_s=self._tokens_per_s(),
            bandwidth_bytes_s=runner.speed.bandwidth_bytes_s,
            flops_s=runner.speed.flops_s,
            context_length=self._served.context_length,
            model_revision=self._served.model_revision,
            notes=runner.backend.notes,
            model_info=self._model_info,
        )

    def _tokens_per_s(self) -> float:
        """Tokens sampled over the last second."""
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] > 1.0:
            self._recent.popleft()
        return float(sum(count for _, count in self._recent))
