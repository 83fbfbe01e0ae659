"""What each process of a split model does: join the group, load its shard, follow rank 0.

A rank worker makes the same calls of its own backend as rank 0 does of its, in the same order, on
its own pages, which hold its own heads. The sums between the ranks happen inside the layers, where
transformers' plan put them. Says beforehand which models can't be split, and why. Starting and
watching the processes is tp_group.py's part.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from inference.engine.backend_choice import choose_backend
from inference.engine.backends.base import Backend, Unsupported
from inference.engine.backends.probe import probe_layers
from inference.engine.backends.step_batch import StepBatch
from inference.engine.backends.torch_backend import DTYPES
from inference.engine.config import EngineConfig
from inference.engine.device import move
from inference.models.headers import weight_files
from inference.models.loading import load_model

log = logging.getLogger(__name__)

GROUP_TIMEOUT_S = 600.0
"""How long one sum may wait for the other ranks."""
DIVIDED = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
"""What of a configuration has to be a multiple of the number of ranks."""

HostStep = tuple[Any, Any, Any, list[int], list[int]]
"""A StepBatch's tensors as arrays in host memory, and its lists."""


def check_splittable(config: EngineConfig, *, dtype: str, device: torch.device) -> None:
    """Raise Unsupported, naming model and reason, if it can't be split over that many ranks."""
    from transformers import AutoConfig

    count, name = config.tensor_parallel, config.model_dir.name
    if config.backend == "native" or dtype not in DTYPES:
        asked = "with the native backend" if config.backend == "native" else f"in {dtype}"
        raise Unsupported(
            f"{name} can't be split {asked}: the native kernels serve whole models. "
            f"tensor_parallel takes {', '.join(DTYPES)} by the torch or the cuda backend."
        )
    if device.type == "cuda" and torch.cuda.device_count() < (device.index or 0) + count:
        raise Unsupported(
            f"tensor_parallel {count} from {device} on needs as many GPUs; "
            f"{torch.cuda.device_count()} are here in all."
        )
    if device.type != "cuda" and torch.cuda.is_available():
        raise Unsupported(
            "tensor_parallel goes to the GPUs where a process sees some; to split over CPU "
            "processes instead, start with CUDA_VISIBLE_DEVICES set to nothing."
        )
    if weight_files(config.model_dir)[0].suffix == ".gguf":
        raise Unsupported(f"{name} is a GGUF file, which is read whole and can't be split.")
    whole: Any = AutoConfig.from_pretrained(
        config.model_dir, local_files_only=True, trust_remote_code=False
    )
    if getattr(whole, "quantization_config", None):
        raise Unsupported(f"{name} is quantised by its maker; such weights can't be split.")
    text = whole.get_text_config()
    kind = text.model_type
    if not getattr(text, "base_model_tp_plan", None):
        raise Unsupported(f"{name} can't be split: transformers has no plan for {kind} (tp_plan).")
    for field in DIVIDED:
        number = getattr(text, field, None)
        if isinstance(number, int) and number % count:
            raise Unsupported(
                f"{name} can't be split over {count} processes: its {field} of {number} "
                f"is no multiple of {count}."
            )


def rank_device(device: torch.device, rank: int) -> torch.device:
    """Where a rank's shard lives: on the GPUs from rank 0's on, or all on the CPU."""
    if device.type != "cuda":
        return device
    return torch.device("cuda", (device.index or 0) + rank)


def rank_threads(config: EngineConfig) -> int:
    """Threads of torch for each rank on a CPU: all ranks together use those of one engine."""
    threads = config.threads or len(os.sched_getaffinity(0))
    return max(1, threads // config.tensor_parallel)


def rank_backend(config: EngineConfig, *, dtype: str, device: torch.device) -> Backend:
    """The rank's own backend: never the native one, which owns whole layers."""
    name = "torch" if device.type == "cpu" else config.backend
    return choose_backend(name, dtype=dtype, device=device)


def join_group(store: str, *, rank: int, count: int, device: torch.device) -> None:
    """Join the torch.distributed group of all ranks, which find each other by the file `store`."""
    on_gpu = device.type == "cuda"
    os.environ["LOCAL_RANK"] = str(device.index or 0)  # transformers picks the GPU by it
    if Path("/sys/class/net/lo").exists():  # the ranks talk over loopback alone
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend="nccl" if on_gpu else "gloo",
        store=dist.FileStore(store, count),
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=GROUP_TIMEOUT_S),
        device_id=device if on_gpu else None,
    )


def load_shard(path: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """This process's shard of the model, by transformers' own plan. Call after `join_group`."""
    loaded = load_model(
        path, dtype=dtype, device=device, allowed=(path.parent,), tp_size=dist.get_world_size()
    )
    return loaded.model


def to_host(batch: StepBatch) -> HostStep:
    """A step in a form that goes through a socket quickly."""
    numbers = torch.stack([batch.token_ids, batch.positions, batch.slots, batch.rows])
    tensors = (numbers, batch.block_table, batch.logits_at)
    first, table, at = (tensor.cpu().numpy() for tensor in tensors)
    return first, table, at, list(batch.query_starts), list(batch.context_lens)


def from_host(step: HostStep, device: torch.device) -> StepBatch:
    """The same step on this rank's device."""
    numbers, table, at = (move(torch.from_numpy(array), device) for array in step[:3])
    return StepBatch(
        token_ids=numbers[0],
        positions=numbers[1],
        slots=numbers[2],
        rows=numbers[3],
        block_table=table,
        logits_at=at,
        query_starts=step[3],
        context_lens=step[4],
    )


# --- the process ---------------------------------------------------------------------------------


def run_rank_worker() -> None:
    """The whole life of a rank's process. The last argument is the descriptor of its socket.

    Sends "here", receives its job, sends "loaded" and "ready", then makes the calls that it
    receives. Whatever goes wrong is sent as "failed" before the end.
    """
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    conn = Connection(int(sys.argv[-1]))
    try:
        conn.send(("here", None))
        _serve(conn, *conn.recv())
    except EOFError:  # rank 0 has closed
        pass
    except Exception as error:
        log.exception("a rank of a split model failed")
        with contextlib.suppress(OSError):
            conn.send(("failed", str(error) or repr(error)))
    sys.stderr.flush()
    os._exit(1)  # without destructors: they might wait for a rank that is gone


def _serve(
    conn: Connection, config: EngineConfig, dtype: str, device: torch.device, rank: int, store: str
) -> None:
    """Load this rank's shard and make the calls of rank 0's backend until the socket closes."""
    torch.set_grad_enabled(False)
    if device.type == "cpu":
        torch.set_num_threads(rank_threads(config))
    join_group(store, rank=rank, count=config.tensor_parallel, device=device)
    backend = rank_backend(config, dtype=dtype, device=device)
    model = load_shard(config.model_dir, backend.load_dtype, device)
    conn.send(("loaded", None))
    backend.prepare(model, probe_layers(model))
    conn.send(("ready", backend.block_tokens))
    while True:
        call, arguments = conn.recv()
        if call == "forward":
            (step,) = arguments
            backend.forward(from_host(step, device))
        else:
            getattr(backend, call)(*arguments)


def _end_with_rank_0() -> None:
    """Standard input is a pipe that rank 0 holds and never writes to: it ends when rank 0 does."""
    while os.read(0, 1):
        pass
    os._exit(0)
