"""What one engine serves and within which bounds. Values only; nothing is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DTYPES = ("auto", "float32", "bfloat16", "float16", "int8", "int4")
BACKENDS = ("auto", "torch", "native", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How to serve one model. Raises ValueError naming the field and its range."""

    model_dir: Path
    worker: str = ""  # the worker's name, for Result.worker
    dtype: str = "auto"  # one of DTYPES; auto: what serves best on the device
    device: str = "auto"  # "cpu", "cuda", "cuda:1"; auto: CUDA when there is one
    backend: str = "auto"  # one of BACKENDS
    threads: int = 0  # of torch, in the engine thread; 0: one per core
    tensor_parallel: int = 1  # processes that share the model, each on a device of its own or a CPU
    max_running: int = 32  # requests in one step
    max_waiting: int = 256  # further submits are refused with queue_full
    step_tokens: int | None = None  # prefill and decode tokens of one step; None: the backend's
    max_gap_ratio: float = 1.55  # a step with prefill takes at most this times one without
    max_pause_s: float = 0.1  # or this much longer, for prompts that are short
    context_length: int | None = None  # None: the model's own
    kv_cache_bytes: int | None = None  # on all devices together; None: by kv_cache_share
    kv_cache_share: float = 0.25  # of the device's free memory after loading
    prefix_cache: bool = True
    measure: bool = True  # bandwidth and FLOP/s at load, about 0.3 s
    warm_up: bool = True  # one dry step before "ready"
    inspect_max_tokens: int = 1024  # longest prefix a probe may ask for

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("dtype", self.dtype, DTYPES),
            ("backend", self.backend, BACKENDS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        for name, number, low in (
            ("threads", self.threads, 0),
            ("tensor_parallel", self.tensor_parallel, 1),
            ("max_running", self.max_running, 1),
            ("max_waiting", self.max_waiting, 0),
            ("step_tokens", self.step_tokens, self.max_running),
            ("context_length", self.context_length, 2),
            ("kv_cache_bytes", self.kv_cache_bytes, 1),
            ("inspect_max_tokens", self.inspect_max_tokens, 1),
        ):
            if number is not None and number < low:
                raise ValueError(f"{name} must be at least {low}, not {number}.")
        if not 0 < self.kv_cache_share <= 0.95:
            raise ValueError("kv_cache_share must be greater than 0 and at most 0.95.")
        if self.max_gap_ratio <= 1:
            raise ValueError("max_gap_ratio must be greater than 1.")
        if not 0 <= self.max_pause_s <= 10:
            raise ValueError("max_pause_s must be between 0 and 10.")
