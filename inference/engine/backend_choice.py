"""Chooses, once at load, in which dtype a model is served and which backend does it.

The rule: CUDA serves bfloat16 by the CUDA backend. A CPU is served by the native kernels of its
widest instruction set (native/isa.py), in the fastest dtype that stays within a measured loss
(native/dtype_choice.py). Without them, a CPU that multiplies bfloat16 is served by oneDNN, one that
FBGEMM knows by that in float16, every other one by torch in float32.

Lies above backends/ and native/, so that neither has to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from inference.contract import WorkerState
from inference.engine.backends import fbgemm_backend
from inference.engine.backends.base import Backend, LoadModel, Unsupported
from inference.engine.backends.torch_backend import TorchBackend
from inference.engine.config import EngineConfig
from inference.engine.native import isa
from inference.engine.native.build import KernelsUnavailable, load_kernels
from inference.engine.native.format_speed import FormatMeter, best_threads, by_speed

BFLOAT16_FEATURES = frozenset({"avx512_bf16", "amx_bf16"})
"""A CPU with one of these multiplies bfloat16 faster than float32."""

ONLY_BY_KERNELS = frozenset({"int8", "int4"})

Report = Callable[[WorkerState, str], None]
"""Called with the engine's state and a sentence while it starts."""


@dataclass(frozen=True, slots=True)
class DtypeChoice:
    """The dtype to serve in, and with how many threads.

    `why` is a sentence for a person where there was a choice; `meter` is what it was chosen by.
    """

    dtype: str
    threads: int
    why: str = ""
    meter: FormatMeter | None = None


def choose_dtype(
    config: EngineConfig, device: torch.device, *, threads: int, load: LoadModel, report: Report
) -> DtypeChoice:
    """Choose the dtype, and fewer than these threads where that is faster and nobody said how many.

    On a CPU with native kernels the first start builds and measures: each format's speed once on
    this CPU, as soon as it has no other work, and what fewer bits cost once for these weights.
    """
    if config.dtype != "auto":
        return DtypeChoice(config.dtype, threads)
    if device.type == "cuda":
        return DtypeChoice("bfloat16", threads)
    without_kernels = fbgemm_backend.best_dtype()
    if BFLOAT16_FEATURES & isa.cpu_features():
        without_kernels = "bfloat16"
    if config.backend not in ("auto", "native") or config.tensor_parallel > 1:
        return DtypeChoice(without_kernels, threads)
    if config.backend == "auto" and not isa.is_worthwhile():
        why = "no native kernels: the CPU has neither AVX2 nor NEON"
        return DtypeChoice(without_kernels, threads, why)
    from inference.engine.native.dtype_choice import BY_SPEED, best_dtype

    report(
        WorkerState.LOADING,
        "finding the fastest dtype; the first start builds kernels and measures",
    )
    try:
        meter = FormatMeter(load_kernels(), threads=threads, try_fewer=config.threads == 0)
        while meter.measure_next():
            pass
        is_known = meter.missing is None
        order = by_speed(meter.speeds) if is_known else BY_SPEED
        dtype, why = best_dtype(config.model_dir, load, by_speed=order)
    except KernelsUnavailable as error:
        return DtypeChoice(without_kernels, threads, f"no native kernels: {error}")
    chosen = best_threads(meter.speeds, default=threads) if is_known else threads
    if chosen != threads:
        why += f"; {chosen} of {threads} threads, which is faster here"
    if not is_known:
        why += "; the order is the usual one, as this CPU was too busy to be measured"
    return DtypeChoice(dtype, chosen, why, meter)


def choose_backend(name: str, *, dtype: str, device: torch.device) -> Backend:
    """The backend that serves `dtype` on `device`. "torch", "native" or "cuda" forces one.

    Raises Unsupported when a forced backend can't run here.
    """
    if device.type == "cuda" and name in ("auto", "cuda"):
        from inference.engine.backends.cuda_backend import CudaBackend

        return CudaBackend(dtype=dtype, device=device)
    by_kernels = name == "auto" and device.type == "cpu" and dtype != "float32"
    if name == "native" or (by_kernels and (isa.is_worthwhile() or dtype in ONLY_BY_KERNELS)):
        from inference.engine.native.native_backend import NativeBackend

        try:
            return NativeBackend(dtype=dtype)
        except Unsupported as error:
            if name == "native":
                raise
            if dtype in ("bfloat16", "float16"):
                return _without_kernels(dtype, str(error))
    elif by_kernels and dtype == "float16":
        return _without_kernels(dtype, "the CPU has neither AVX2 nor NEON for native kernels.")
    return TorchBackend(dtype=dtype, device=device)


def _without_kernels(dtype: str, reason: str) -> Backend:
    """The backend for 16 bits on a CPU where the native kernels don't run."""
    from inference.engine.backends.onednn_backend import OneDnnBackend

    try:
        if dtype == "float16":
            return fbgemm_backend.FbgemmBackend(reason=reason)
        return OneDnnBackend(reason=reason)
    except Unsupported:
        return TorchBackend(dtype=dtype, device=torch.device("cpu"))
