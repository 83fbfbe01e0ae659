"""Owns the loaded model and its pages, and turns a schedule into logits.

Lives in the engine thread: every call here may use torch, and none may be made from elsewhere.
Doesn't decide what runs, and doesn't know what becomes of the logits; model_setup.py loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference.contract import FormatSpeed, WorkerState
from inference.engine.backend_choice import Report
from inference.engine.backends.base import LoadModel, Unsupported
from inference.engine.backends.probe import probe_layers
from inference.engine.backends.step_batch import StepBatch, sequence_batch
from inference.engine.config import EngineConfig
from inference.engine.device import to_device
from inference.engine.inspection.inspector import Inspector
from inference.engine.model_setup import set_up_model, speed_meter
from inference.engine.scheduling.scheduler import Scheduled
from inference.engine.step_output import num_logits


@dataclass(slots=True)
class PartialPrefill:
    """A chunk of a prompt of which `num_run` layers have run."""

    item: Scheduled
    batch: StepBatch | None = None  # made with the first of them
    num_run: int = 0


class ModelRunner:
    """One model, ready to run steps, on one device or split over several processes.

    Raises Unsupported with a sentence. `close` ends what was started for it.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        load: LoadModel,
        report: Report = lambda state, detail: None,
        packed_in: Path | None = None,
    ) -> None:
        """`packed_in`: the folder in which packed weights are looked for and kept; None: nowhere.

        `load` and `report` as in model_setup.py.
        """
        self.config = config
        setup = set_up_model(config, load=load, report=report, packed_in=packed_in)
        self._setup, self._group, self._load = setup, setup.group, setup.load
        self.backend, self.model = setup.backend, setup.model
        self.device, self.dtype, self.threads = setup.device, setup.dtype, setup.threads
        self.sizes, self.num_blocks = setup.sizes, setup.num_blocks
        self.speed_meter = speed_meter(config, setup)
        self.layerwise = self.backend.layerwise()
        try:
            report(WorkerState.WARMING, "measuring the device and running a first step")
            self.speed_meter.measure()
            if config.warm_up:
                self.warm_up()
        except BaseException:
            self.close()
            raise

    @property
    def notes(self) -> tuple[str, ...]:
        """What was recognised and chosen at load, and why, for a person."""
        notes = (*self.backend.notes, *self._setup.notes)
        return tuple(dict.fromkeys(note.removesuffix(".") for note in notes))

    @property
    def format_speeds(self) -> tuple[FormatSpeed, ...]:
        """What dtype and threads were chosen by, where that was measured."""
        meter = self._setup.format_meter
        return () if meter is None else meter.speeds

    def rest(self, now_s: float) -> None:
        """Called while there is nothing to do: measure again what a busy machine can't show.

        Every now and then the device's speed, and a format that is still to be measured; which
        format serves is chosen at the next start.
        """
        meter = self._setup.format_meter
        if self.speed_meter.rest(now_s) and meter is not None:
            meter.measure_next()

    @property
    def step_tokens(self) -> int:
        """Prefill and decode tokens of one step together, at most."""
        return self.config.step_tokens or max(self.backend.step_tokens, self.config.max_running)

    @property
    def num_layers(self) -> int:
        """How many layers a step may be cut between; 0: it runs as a whole."""
        return 0 if self.layerwise is None else self.layerwise.num_layers

    def check(self) -> None:
        """Raise RankLost if a process that shares the model has ended; costs microseconds."""
        if self._group is not None:
            self._group.check()

    def close(self) -> None:
        """End the processes that share the model. No step may follow."""
        if self._group is not None:
            self._group.close()

    def step(self, scheduled: Sequence[Scheduled]) -> Tensor:
        """Run the scheduled tokens. Returns float32 logits (L, V), in order of the schedule.

        `num_logits` says how many rows belong to each item; at least one row is returned.
        """
        return self.backend.forward(self._batch(scheduled))

    def run_layers(self, partial: PartialPrefill, num_layers: int) -> Tensor | None:
        """Run that many further layers of a chunk, or what is left. Logits once all have run.

        Only where `num_layers` of the runner isn't 0.
        """
        assert self.layerwise is not None
        if partial.batch is None:
            partial.batch = self._batch([partial.item])
        begin, end = partial.num_run, min(partial.num_run + num_layers, self.num_layers)
        logits = self.layerwise.forward_layers(partial.batch, begin, end)
        partial.num_run = end
        return logits

    def _batch(self, scheduled: Sequence[Scheduled]) -> StepBatch:
        """The scheduled tokens with their places in the pages, on the device."""
        size = self.backend.block_tokens
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        rows: list[int] = []
        at: list[int] = []
        starts = [0]
        for row, item in enumerate(scheduled):
            request, begin = item.request, item.request.num_computed
            if item.num_tokens == 1:  # decodes are most of the rows: no lists for them
                ids.append(request.token_ids[begin])
                positions.append(begin)
                slots.append(request.blocks[begin // size] * size + begin % size)
                rows.append(row)
            else:
                end = begin + item.num_tokens
                ids += request.token_ids[begin:end]
                positions += range(begin, end)
                slots += [request.blocks[p // size] * size + p % size for p in range(begin, end)]
                rows += [row] * item.num_tokens
            at += range(len(ids) - num_logits(item), len(ids))
            starts.append(len(ids))
        width = max(len(item.request.blocks) for item in scheduled)
        table = [
            item.request.blocks + [0] * (width - len(item.request.blocks)) for item in scheduled
        ]
        packed = to_device([ids, positions, slots, rows], torch.int64, self.device)
        return StepBatch(
            token_ids=packed[0],
            positions=packed[1],
            slots=packed[2],
            rows=packed[3],
            block_table=to_device(table, torch.int32, self.device),
            # Never empty: transformers takes an empty `logits_to_keep` as "the logits of all".
            logits_at=to_device(at or [len(ids) - 1], torch.int64, self.device),
            query_starts=starts,
            context_lens=[item.request.num_computed + item.num_tokens for item in scheduled],
        )

    def warm_up(self) -> None:
        """Run a prefill and a decode on the padding block, so that no request waits for them."""
        size = self.backend.block_tokens
        self.backend.warm_up(
            max_running=self.config.max_running,
            context_length=min(self.sizes.context_length, self.num_blocks * size),
        )
        for tokens in (size, 1):
            ids = torch.arange(tokens, device=self.device) % self.sizes.vocab_size
            self.backend.forward(sequence_batch(ids, block_tokens=size, only_last=True))
        self.backend.clear_blocks([0])

    def make_inspector(self) -> Inspector:
        """An inspector of the served layers, or of a second instance where those are fused.

        May be called from another thread than the engine's, so that no step waits for the loading.
        """
        if self._group is not None:
            raise Unsupported("A model split by tensor_parallel can't be looked into.")
        torch.set_grad_enabled(False)
        model = self.model
        if not self.backend.is_layered:
            torch.set_num_threads(1)  # of this thread: the cores belong to the engine's
            dtype = torch.bfloat16 if self.dtype != "float32" else torch.float32
            model = self._load(self.config.model_dir, dtype, self.device)
            model.eval()
            probe_layers(model)
        return Inspector(
            model,
            self.backend.layers,
            max_tokens=self.config.inspect_max_tokens,
            vocab_size=self.sizes.vocab_size,
        )
