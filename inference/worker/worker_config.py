"""What one worker process holds and how it serves it, from environment variables."""

from __future__ import annotations

from dataclasses import dataclass

from inference import env
from inference.engine.config import EngineConfig
from inference.text import DEFAULT_SLUG, model_folder

STANDBY = ("auto", "loaded", "off")
SPARE_TASKS = 8  # requests beyond max_running that wait in the engine, so that it never idles


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How this process serves. `from_env` raises InvalidVariable, a ValueError."""

    model: str = DEFAULT_SLUG  # CHATSITE_MODEL; set but empty: no model until load_model comes
    dtype: str = "auto"  # CHATSITE_DTYPE
    device: str = "auto"  # CHATSITE_DEVICE
    backend: str = "auto"  # CHATSITE_BACKEND
    threads: int = 0  # CHATSITE_THREADS; 0: one per core
    tensor_parallel: int = 1  # CHATSITE_TENSOR_PARALLEL: processes that share the model
    max_running: int = 32  # CHATSITE_MAX_RUNNING
    stall_s: float = (
        30.0  # CHATSITE_STALL_S: without a step for so long, though it had CPU time, it is stuck
    )
    standby: str = "auto"  # CHATSITE_STANDBY: whether a second process waits with the model loaded

    @classmethod
    def from_env(cls) -> WorkerSettings:
        default = cls()
        model = env.given("CHATSITE_MODEL")
        return cls(
            model=default.model if model is None else model,
            dtype=env.text("CHATSITE_DTYPE", default.dtype),
            device=env.text("CHATSITE_DEVICE", default.device),
            backend=env.text("CHATSITE_BACKEND", default.backend),
            threads=env.whole_number("CHATSITE_THREADS", default.threads, low=0),
            tensor_parallel=env.whole_number(
                "CHATSITE_TENSOR_PARALLEL", default.tensor_parallel, low=1
            ),
            max_running=env.whole_number("CHATSITE_MAX_RUNNING", default.max_running, low=1),
            stall_s=env.number("CHATSITE_STALL_S", default.stall_s, low=1.0),
            standby=env.choice("CHATSITE_STANDBY", default.standby, STANDBY),
        )

    def engine_config(self, model: str, *, worker: str) -> EngineConfig:
        """How the engine is to serve `model`. Raises ModelFolderError, ValueError."""
        return EngineConfig(
            model_dir=model_folder(model),
            worker=worker,
            dtype=self.dtype,
            device=self.device,
            backend=self.backend,
            threads=self.threads,
            tensor_parallel=self.tensor_parallel,
            max_running=self.max_running,
        )
