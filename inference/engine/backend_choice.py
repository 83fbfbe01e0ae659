"""Chooses, once at load, in which dtype a model is served and which backend does it.

The rule: CUDA serves bfloat16 by the CUDA backend. A CPU is served by the native kernels of its
widest instruction set (native/isa.py), in the fastest dtype that stays within a measured loss
(native/dtype_choice.py). Without them, a CPU that multiplies bfloat16 is served by oneDNN, one that
FBGEMM knows by that in float16, every other one by torch in float32.

Lies above backends/ and native/, so that neither has to know the other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from inference.contract import WorkerState
from inference.engine.backends import fbgemm_backend
from inference.engine.backends.base import Backend, LoadModel, Unsupported
from inference.engine.backends.torch_backend import TorchBackend
from inference.engine.config import EngineConfig
from inference.engine.native import isa
from inference.engine.native.build import KernelsUnavailable, load_kernels

BFLOAT16_FEATURES = frozenset({"avx512_bf16", "amx_bf16"})
"""A CPU with one of these multiplies bfloat16 faster than float32."""

ONLY_BY_KERNELS = frozenset({"int8", "int4"})

Report = Callable[[WorkerState, str], None]
"""Called with the engine's state and a sentence while it starts."""


def choose_dtype(
    config: EngineConfig, device: torch.device, *, load: LoadModel, report: Report
) -> tuple[str, str]:
    """The dtype to serve in, and why, where the choice took a measurement.

    On a CPU with native kernels the first start with these weights builds and measures.
    """
    if config.dtype != "auto":
        return config.dtype, ""
    if device.type == "cuda":
        return "bfloat16", ""
    without_kernels = fbgemm_backend.best_dtype()
    if BFLOAT16_FEATURES & isa.cpu_features():
        without_kernels = "bfloat16"
    if config.backend not in ("auto", "native") or config.tensor_parallel > 1:
        return without_kernels, ""
    if config.backend == "auto" and not isa.is_worthwhile():
        return without_kernels, "no native kernels: the CPU has neither AVX2 nor NEON"
    from inference.engine.native.dtype_choice import best_dtype

    report(
        WorkerState.LOADING,
        "finding the fastest dtype; the first start builds kernels and measures",
    )
    try:
        load_kernels()
        return best_dtype(config.model_dir, load)
    except KernelsUnavailable as error:
        return without_kernels, f"no native kernels: {error}"


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
