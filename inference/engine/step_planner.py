"""Plans the next step: what the scheduler lets run, within the pacer's budget, and how it is run.

A step is run whole, or, for a long prompt beside decodes, a few layers at a time between whole
steps, in turns. After a step has failed, its requests are planned one by one. Doesn't sample, and
doesn't end requests (core.py does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from inference.engine.active_request import ActiveRequest
from inference.engine.config import EngineConfig
from inference.engine.model_runner import ModelRunner, PartialPrefill
from inference.engine.scheduling.prefill_pacing import PrefillPacer
from inference.engine.scheduling.scheduler import Scheduled, Scheduler


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What runs next.

    `forward` computes it: logits as ModelRunner.step has them, or None while layers are left to
    run. `observe` is told afterwards whether it succeeded to the end, and the seconds it took.
    """

    items: list[Scheduled]
    forward: Callable[[], Tensor | None]
    observe: Callable[[bool, float], None]


class StepPlanner:
    """Plans the steps of one loaded model. Called from the engine thread."""

    def __init__(self, config: EngineConfig, runner: ModelRunner, scheduler: Scheduler) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._step_tokens = runner.step_tokens
        self._pacer = PrefillPacer(
            max_gap_ratio=config.max_gap_ratio,
            max_pause_s=config.max_pause_s,
            step_tokens=runner.step_tokens,
            min_chunk=runner.backend.min_chunk,
            num_layers=runner.num_layers,
        )
        self._partial: PartialPrefill | None = None  # of the scheduler's interleaved chunk
        self._is_turn_of_layers = False
        self._isolate_ids: set[str] = set()  # requests to be run one by one after a step failed

    def plan(self, *, num_queued: int) -> PlannedStep | None:
        """The next step; None if nothing can run. `num_queued` requests are in the queue or run."""
        scheduler = self._scheduler
        decoding = sum(1 for active in scheduler.running if active.is_decoding)
        prefilling = num_queued - decoding
        if scheduler.interleaved is not None and (self._is_turn_of_layers or decoding == 0):
            self._is_turn_of_layers = False
            return self._plan_layers(scheduler.interleaved, decoding, prefilling)
        items = scheduler.schedule(
            step_tokens=self._step_tokens,
            budget=self._pacer.budget(decoding=decoding, prefilling=prefilling),
        )
        self._is_turn_of_layers = True
        if not items:
            return None
        if self._isolate_ids:
            items = self._isolate_failed(items)
        return PlannedStep(
            items,
            forward=lambda: self._runner.step(items),
            observe=lambda is_done, spent_s: self._observe(items, is_done, spent_s),
        )

    def isolate(self, requests: Iterable[ActiveRequest]) -> None:
        """Have these requests run one by one, so that only the one at fault fails."""
        self._isolate_ids.update(active.id for active in requests)

    def forget(self, active: ActiveRequest) -> None:
        """A request has ended."""
        self._isolate_ids.discard(active.id)

    def _plan_layers(self, item: Scheduled, decoding: int, prefilling: int) -> PlannedStep:
        """Some layers of the interleaved chunk; all that are left if no request decodes."""
        if self._partial is None or self._partial.item is not item:
            self._partial = PartialPrefill(item)
        partial, before = self._partial, self._partial.num_run
        layers = self._runner.num_layers
        if decoding:
            layers = self._pacer.layers(item.num_tokens, decoding=decoding, prefilling=prefilling)

        def observe(_is_done: bool, spent_s: float) -> None:
            if partial.num_run > before:
                self._pacer.observe_interleaved(
                    tokens=item.num_tokens, layers=partial.num_run - before, spent_s=spent_s
                )

        return PlannedStep([item], lambda: self._runner.run_layers(partial, layers), observe)

    def _observe(self, items: list[Scheduled], is_done: bool, spent_s: float) -> None:
        if is_done:
            self._pacer.observe(
                decoding=sum(1 for item in items if item.is_decode),
                prefill_tokens=sum(item.num_tokens for item in items if not item.is_decode),
                step_s=spent_s,
            )

    def _isolate_failed(self, items: list[Scheduled]) -> list[Scheduled]:
        """The first of the requests that are to run alone after a failed step."""
        for item in items:
            if item.request.id in self._isolate_ids:
                self._isolate_ids.discard(item.request.id)
                return [item]
        return items
