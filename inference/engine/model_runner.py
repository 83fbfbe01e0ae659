"""Owns the model and its pages: loads, probes, prepares, and turns a schedule into logits.

Lives in the engine thread: every call here may use torch, and none may be made from elsewhere.
Doesn't decide what runs, and doesn't know what becomes of the logits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.contract import WorkerState
from inference.engine.backends.base import Backend, StepBatch, Unsupported, choose_backend
from inference.engine.backends.probe import probe_layers
from inference.engine.config import EngineConfig
from inference.engine.device import DeviceSpeed, measure_speed
from inference.engine.inspection.inspector import Inspector
from inference.engine.memory import memory
from inference.engine.parallel.rank_worker import part_backend, part_device, part_threads
from inference.engine.parallel.tp_group import Parts, SplitBackend
from inference.engine.scheduling.scheduler import Scheduled
from inference.engine.tensors import to_device

Loader = Callable[[Path, torch.dtype, torch.device], nn.Module]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Figures of the served model that floors and statistics need."""

    context_length: int
    vocab_size: int
    weight_bytes: int  # read by one decode step
    body_parameters: int  # without embedding and head
    head_parameters: int
    kv_bytes_per_token: int
    attention_flops_per_pair: int  # per query token and context token, all layers


@dataclass(slots=True)
class Sliced:
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
        load: Loader,
        tell: Callable[[WorkerState, str], None] = lambda state, detail: None,
    ) -> None:
        self.config = config
        self._load = load
        self._parts: Parts | None = None
        self.device = pick_device(config.device)
        self.threads = config.threads or len(os.sched_getaffinity(0))
        if config.tensor_parallel > 1:
            self.device = part_device(self.device, 0)
            self.threads = part_threads(config)
        torch.set_grad_enabled(False)
        if self.device.type == "cpu":
            torch.set_num_threads(self.threads)
        try:
            self._get_ready(tell)
        except BaseException:
            self.close()
            raise

    def _get_ready(self, tell: Callable[[WorkerState, str], None]) -> None:
        config = self.config
        self.dtype, self._why = self._pick_dtype(tell)
        if config.tensor_parallel > 1:
            tell(
                WorkerState.LOADING,
                f"starting {config.tensor_parallel - 1} processes to share the model",
            )
            self._parts = Parts(config, dtype=self.dtype, device=self.device)
            self._load = self._parts.load
        tell(
            WorkerState.LOADING,
            f"finding the fastest path for {self.dtype}; the first start builds it",
        )
        self.backend = self._choose_backend()
        tell(WorkerState.LOADING, "reading the weights")
        model = self._load(config.model_dir, self.backend.load_dtype, self.device)
        model.eval()
        active, total = body_parameters(model)
        self._body_parameters, self._active_share = active, active / max(1, total)
        tell(WorkerState.LOADING, f"preparing the weights for {self.backend.name}")
        model = self._prepare(model)
        if self._why:
            self.backend.notes += (self._why,)
        self.model = model
        self.sizes = self._sizes(model)
        self.num_blocks = self._allocate()
        tell(WorkerState.WARMING, "measuring the device and running a first step")
        self.speed = DeviceSpeed()
        if config.measure:
            self.speed = self._measure()
        if config.warm_up:
            self.warm_up()

    def check(self) -> None:
        """Raise PartLost if a process that shares the model has ended; costs microseconds."""
        if self._parts is not None:
            self._parts.check()

    def close(self) -> None:
        """End the processes that share the model. No step may follow."""
        if self._parts is not None:
            self._parts.close()

    def step(self, scheduled: Sequence[Scheduled]) -> Tensor:
        """Run the scheduled tokens. Returns float32 logits (L, V), in order of the schedule.

        `num_logits` says how many rows belong to each item; at least one row is returned.
        """
        return self.backend.forward(self._batch(scheduled))

    def run_slice(self, sliced: Sliced, num_layers: int) -> Tensor | None:
        """Run that many further layers of a chunk, or what is left. Logits once all have run."""
        if sliced.batch is None:
            sliced.batch = self._batch([sliced.item])
        begin, end = sliced.num_run, min(sliced.num_run + num_layers, self.backend.num_slices)
        logits = self.backend.forward_slice(sliced.batch, begin, end)
        sliced.num_run = end
        return logits

    def _batch(self, scheduled: Sequence[Scheduled]) -> StepBatch:
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
            # Asking for no logits at all would mean asking for all: 0 keeps everything.
            logits_at=to_device(at or [len(ids) - 1], torch.int64, self.device),
            query_starts=starts,
            context_lens=[item.request.num_computed + item.num_tokens for item in scheduled],
            scratch={},
        )

    def warm_up(self) -> None:
        """Run a dry prefill and a dry decode on the padding block: no user waits for them."""
        size = self.backend.block_tokens
        self.backend.warm_up(
            max_running=self.config.max_running,
            context_length=min(self.sizes.context_length, self.num_blocks * size),
        )
        for tokens in (size, 1):
            at = torch.arange(tokens, device=self.device)
            self.backend.forward(
                StepBatch(
                    token_ids=at % self.sizes.vocab_size,
                    positions=at,
                    slots=at,
                    rows=torch.zeros_like(at),
                    block_table=torch.zeros(1, 1, dtype=torch.int32, device=self.device),
                    logits_at=at[-1:],
                    query_starts=[0, tokens],
                    context_lens=[tokens],
                    scratch={},
                )
            )
        self.backend.clear_blocks([0])

    def make_inspector(self) -> Inspector:
        """What looks inside: at the served layers, or at a second instance where they are fused.

        May be called from another thread than the engine's, so that no step waits for the loading.
        """
        if self._parts is not None:
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

    # --- loading --------------------------------------------------------------------------------

    def _pick_dtype(self, tell: Callable[[WorkerState, str], None]) -> tuple[str, str]:
        """The dtype to serve in, and why where there was a choice."""
        config = self.config
        dtype = pick_dtype(config.dtype, self.device)
        if config.dtype != "auto" or dtype != "bfloat16" or self.device.type != "cpu":
            return dtype, ""
        if config.backend not in ("auto", "native") or config.tensor_parallel > 1:
            return dtype, ""
        from inference.engine.native.build import KernelsUnavailable, load_kernels
        from inference.engine.native.dtype_choice import best_dtype

        tell(
            WorkerState.LOADING,
            "finding the fastest dtype; the first start builds kernels and measures",
        )
        try:
            load_kernels()
            return best_dtype(config.model_dir, self._load)
        except KernelsUnavailable as error:
            return dtype, f"no native kernels: {error}"

    def _choose_backend(self) -> Backend:
        config = self.config
        if self._parts is None:
            return choose_backend(config.backend, dtype=self.dtype, device=self.device)
        own = part_backend(config, dtype=self.dtype, device=self.device)
        return SplitBackend(own, self._parts)

    def _prepare(self, model: nn.Module) -> nn.Module:
        layers = probe_layers(model)
        try:
            return self.backend.prepare(model, layers)
        except Unsupported as error:
            if self.config.backend not in ("auto", "torch") or self._parts is not None:
                raise
            # Quantised weights have no torch path: the nearest dtype that torch computes in.
            fallback = self.dtype if self.dtype not in ("int8", "int4") else "bfloat16"
            refused, self.dtype = self.dtype, fallback
            self.backend = choose_backend("torch", dtype=fallback, device=self.device)
            model = self.backend.prepare(model.to(self.backend.load_dtype), layers)
            self.backend.notes += (f"not served in {refused} by the faster path: {error}",)
            return model

    def _allocate(self) -> int:
        """Make the pages: as many as asked for, at least enough for one request of full length."""
        per_block = self.backend.cache_bytes_per_block()
        limit = self.config.kv_cache_bytes
        if limit is None:
            free = memory(self.device).free or 4 << 30
            devices = self.config.tensor_parallel if self.device.type == "cuda" else 1
            limit = int(free * devices * self.config.kv_cache_share)
        most = self.config.max_running * -(-self.sizes.context_length // self.backend.block_tokens)
        num_blocks = min(limit // per_block, most)
        if num_blocks < 2:
            raise Unsupported(
                f"the key-value cache may take {limit} bytes, and two blocks of "
                f"{self.backend.block_tokens} tokens need {2 * per_block}."
            )
        self.backend.allocate_cache(num_blocks + 1)  # and block 0, the padding
        return num_blocks

    def _sizes(self, model: nn.Module) -> Sizes:
        config: Any = model.config
        text = config.get_text_config()
        own = int(getattr(text, "max_position_embeddings", 0) or 1 << 20)
        head = int(text.vocab_size) * int(text.hidden_size)
        layers = self.backend.layers
        per_block = self.backend.cache_bytes_per_block()
        return Sizes(
            context_length=min(own, self.config.context_length or own),
            vocab_size=int(text.vocab_size),
            weight_bytes=int(self.backend.weight_bytes() * self._active_share),
            body_parameters=self._body_parameters,
            head_parameters=head,
            kv_bytes_per_token=per_block // self.backend.block_tokens,
            attention_flops_per_pair=sum(
                2 * spec.query_heads * (spec.key_dim + spec.value_dim) for spec in layers
            ),
        )

    def _measure(self) -> DeviceSpeed:
        """How fast the devices are together: parts on a CPU share one, parts on GPUs don't."""
        dtype = torch.float32 if self.dtype == "float32" else torch.bfloat16
        speed = measure_speed(self.device, dtype)
        devices = self.config.tensor_parallel if self.device.type == "cuda" else 1
        return replace(
            speed,
            bandwidth_bytes_s=speed.bandwidth_bytes_s * devices,
            flops_s=speed.flops_s * devices,
        )


def num_logits(item: Scheduled) -> int:
    """How many of its tokens need logits: all to echo a prompt, else the last if it samples."""
    if item.request.wants_echo:
        return item.num_tokens
    return 1 if item.samples else 0


def body_parameters(model: Any) -> tuple[int, int]:
    """Parameters without embedding and head: those one token passes through, and all of them.

    Of experts, a token passes through as many as the configuration says.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    outside = {id(module.weight) for module in ends if module is not None}
    text = model.config.get_text_config()
    chosen = getattr(text, "num_experts_per_tok", None) or 1
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((n for name in names if (n := getattr(text, name, None))), chosen)
    active = total = 0
    for name, parameter in model.named_parameters():
        if id(parameter) in outside:
            continue
        total += parameter.numel()
        is_expert = ".experts." in name
        active += parameter.numel() * chosen // experts if is_expert else parameter.numel()
    return active, total


def pick_device(name: str) -> torch.device:
    """The device by name; "auto" is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> str:
    """The dtype by name; "auto" is bfloat16 where the device multiplies it fast, else float32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16"
    flags = _cpu_flags()
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _cpu_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()
