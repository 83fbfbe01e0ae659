"""Brings a model up: picks dtype and backend, reads the weights, prepares them, makes the pages.

Runs once, in the engine thread, before the first step (model_runner.py runs those). What the
backend refuses is served by torch instead, where the configuration leaves the choice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.contract import WorkerState
from inference.engine import memory
from inference.engine.backend_choice import Report, choose_backend, choose_dtype
from inference.engine.backends.base import Backend, LoadModel, Unsupported
from inference.engine.backends.probe import probe_layers
from inference.engine.config import EngineConfig
from inference.engine.device import device_memory, pick_device
from inference.engine.device_speed import SpeedMeter
from inference.engine.native.format_speed import FormatMeter
from inference.engine.parallel.rank_worker import rank_backend, rank_device, rank_threads
from inference.engine.parallel.tp_backend import TensorParallelBackend
from inference.engine.parallel.tp_group import TPGroup
from inference.engine.served_model import ModelSizes

FALLBACK_FREE_BYTES = 4 << 30
"""Memory that is taken to be free where the system doesn't say."""


@dataclass(slots=True)
class ModelSetup:
    """A model that is ready to run steps, on one device or split over several processes."""

    device: torch.device
    threads: int
    dtype: str
    backend: Backend
    model: nn.Module
    sizes: ModelSizes
    num_blocks: int  # of the pages, without block 0, the padding
    load: LoadModel  # how the weights were read; a second instance is read the same way
    format_meter: FormatMeter | None  # by which dtype and threads were chosen
    notes: tuple[str, ...]  # why this dtype or backend, where there was a choice
    group: TPGroup | None  # the other processes; the runner ends them


def set_up_model(
    config: EngineConfig, *, load: LoadModel, report: Report, packed_in: Path | None = None
) -> ModelSetup:
    """Load, probe and prepare a model and allocate its pages.

    In the folder `packed_in`, if one is given, lies what an earlier start made of the same model,
    or will lie what this one makes.

    `report` gets a sentence per phase. Sets this thread's torch threads, and turns gradients off.
    Raises Unsupported with a sentence; what was started for it has ended then.
    """
    device = pick_device(config.device)
    threads = config.threads or len(os.sched_getaffinity(0))
    if config.tensor_parallel > 1:
        device, threads = rank_device(device, 0), rank_threads(config)
    torch.set_grad_enabled(False)
    if device.type == "cpu":
        torch.set_num_threads(threads)
    choice = choose_dtype(config, device, threads=threads, load=load, report=report)
    dtype, threads = choice.dtype, choice.threads
    notes = [choice.why] if choice.why else []
    if device.type == "cpu":
        torch.set_num_threads(threads)
    group: TPGroup | None = None
    try:
        if config.tensor_parallel > 1:
            others = config.tensor_parallel - 1
            report(WorkerState.LOADING, f"starting {others} processes to share the model")
            group = TPGroup(config, dtype=dtype, device=device)
            load = group.load
        report(
            WorkerState.LOADING,
            f"finding the fastest path for {dtype}; the first start builds it",
        )
        backend: Backend
        if group is None:
            backend = choose_backend(config.backend, dtype=dtype, device=device)
        else:
            own = rank_backend(config, dtype=dtype, device=device)
            backend = TensorParallelBackend(own, group)
        model = None
        if packed_in is not None:
            report(WorkerState.LOADING, "looking for weights packed by an earlier start")
            model = backend.restore(packed_in)
        if model is not None:
            body, all_body = body_parameters(model)
        else:
            report(WorkerState.LOADING, "reading the weights")
            model = load(config.model_dir, backend.load_dtype, device)
            model.eval()
            body, all_body = body_parameters(model)
            report(WorkerState.LOADING, f"preparing the weights for {backend.name}")
            layers = probe_layers(model)
            try:
                model = backend.prepare(model, layers)
            except Unsupported as error:
                if config.backend not in ("auto", "torch") or group is not None:
                    raise
                # Quantised weights have no torch path: the nearest dtype that torch computes in.
                refused, dtype = dtype, dtype if dtype not in ("int8", "int4") else "bfloat16"
                backend = choose_backend("torch", dtype=dtype, device=device)
                model = backend.prepare(model.to(backend.load_dtype), layers)
                notes.insert(0, f"not served in {refused} by the faster path: {error}")
            if packed_in is not None and backend.keep(packed_in):
                # What was kept takes the place of what was made: other processes share it.
                model = backend.restore(packed_in) or model
            if device.type == "cpu":
                memory.trim()
        sizes = _sizes(config, backend, model, body=body, active_share=body / max(1, all_body))
        num_blocks = _allocate(config, backend, sizes, device)
    except BaseException:
        if group is not None:
            group.close()
        raise
    return ModelSetup(
        device=device,
        threads=threads,
        dtype=dtype,
        backend=backend,
        model=model,
        sizes=sizes,
        num_blocks=num_blocks,
        load=load,
        format_meter=choice.meter,
        notes=tuple(notes),
        group=group,
    )


def speed_meter(config: EngineConfig, setup: ModelSetup) -> SpeedMeter:
    """What measures the devices together: ranks on a CPU share one, ranks on GPUs don't."""
    if not config.measure:
        return SpeedMeter()
    devices = config.tensor_parallel if setup.device.type == "cuda" else 1
    return SpeedMeter(
        setup.backend.measure_speed,
        device=setup.device,
        way=f"{setup.backend.name}, {setup.threads} threads",
        devices=devices,
    )


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


def _sizes(
    config: EngineConfig, backend: Backend, model: Any, *, body: int, active_share: float
) -> ModelSizes:
    text = model.config.get_text_config()
    own = int(getattr(text, "max_position_embeddings", 0) or 1 << 20)
    return ModelSizes(
        context_length=min(own, config.context_length or own),
        vocab_size=int(text.vocab_size),
        weight_bytes=int(backend.weight_bytes() * active_share),
        body_parameters=body,
        head_parameters=int(text.vocab_size) * int(text.hidden_size),
        kv_bytes_per_token=backend.cache_bytes_per_block() // backend.block_tokens,
        attention_flops_per_pair=sum(
            2 * spec.query_heads * (spec.key_dim + spec.value_dim) for spec in backend.layers
        ),
    )


def _allocate(
    config: EngineConfig, backend: Backend, sizes: ModelSizes, device: torch.device
) -> int:
    """Make the pages: as many as asked for, at least enough for one request of full length."""
    per_block = backend.cache_bytes_per_block()
    limit = config.kv_cache_bytes
    if limit is None:
        free = device_memory(device).free or FALLBACK_FREE_BYTES
        devices = config.tensor_parallel if device.type == "cuda" else 1
        limit = int(free * devices * config.kv_cache_share)
    most = config.max_running * -(-sizes.context_length // backend.block_tokens)
    num_blocks = min(limit // per_block, most)
    if num_blocks < 2:
        raise Unsupported(
            f"the key-value cache may take {limit} bytes, and two blocks of "
            f"{backend.block_tokens} tokens need {2 * per_block}."
        )
    backend.allocate_cache(num_blocks + 1)  # and block 0, the padding
    return num_blocks
