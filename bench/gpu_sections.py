"""One part of bench/gpu.sh, run by gpu.py: peaks, this engine, or transformers' own ways.

    gpu_sections.py peaks|engine|generate|continuous [SHAPE DTYPE] [options]

Prints one JSON object a line as soon as a figure is known: {"peaks": …}, {"about": …} or {"row": …}.
All else that anybody prints goes to standard error. Weights are random (shapes.py), prompts too;
answers are greedy, and each exactly as long as asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))  # hf.py's own neighbours

from bench.shapes import SHAPES, random_model
from inference.command.closed_loop import Batch, StreamResult, figures

Say = Callable[..., None]
Run = Callable[[list[list[int]], int], Batch]
"""Answers these prompts at once, so many tokens each."""

BYTES = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0, "int8": 1.0}
MOST_BATCHES = 5


def measure_peaks(device: str, say: Say) -> None:
    """What the device is, how fast it reads or copies, and how fast it multiplies BF16."""
    import torch
    import transformers

    from inference.engine.device_speed import measure_speed

    at = torch.device(device)
    cuda = at.type == "cuda"
    say(
        peaks={
            "device": torch.cuda.get_device_name(at) if cuda else device,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "transformers": transformers.__version__,
        }
    )
    speed = measure_speed(at, torch.bfloat16)
    found = {"read_bytes_s": speed.bandwidth_bytes_s, "flops_s": speed.flops_s}
    source = torch.randn((1 << 29) if cuda else (1 << 22), device=at)
    target = torch.empty_like(source)
    best_s = float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        target.copy_(source)
        if cuda:
            torch.cuda.synchronize(at)
        best_s = min(best_s, time.perf_counter() - begin)
    found["copy_bytes_s"] = 2 * source.numel() * source.element_size() / best_s
    found["bandwidth_bytes_s"] = max(found["read_bytes_s"], found["copy_bytes_s"])
    say(peaks=found)


def measure_widths(run: Run, options: argparse.Namespace, say: Say, **labels: Any) -> None:
    """A row for each width: a short batch that isn't counted, then batches for some seconds."""
    vocab = SHAPES[options.shape].config["vocab_size"]
    draw = random.Random(0)
    for streams in options.streams:
        prompts = [
            [draw.randrange(3, vocab) for _ in range(options.prompt_tokens)] for _ in range(streams)
        ]
        run(prompts, 4)
        batches: list[Batch] = []
        end = time.monotonic() + options.seconds
        while not batches or (time.monotonic() < end and len(batches) < MOST_BATCHES):
            batches.append(run(prompts, options.max_tokens))
        say(row={"streams": streams, **labels, **figures(batches)})


def measure_engine(options: argparse.Namespace, say: Say) -> None:
    """This engine, whole, on a model of random weights."""
    from inference.command.bench import run_batch
    from inference.command.session import Session
    from inference.contract import SamplingParams
    from inference.engine.loader import ModelLoader, TextArtifacts

    loader = ModelLoader(
        lambda _folder, dtype, device: random_model(options.shape, dtype, device),
        lambda: TextArtifacts(),
    )
    # On a CPU this script alone is tried, and nothing must be built for that.
    backend = "torch" if options.device == "cpu" else "auto"
    engine = argparse.Namespace(
        dtype=options.dtype, device=options.device, backend=backend, threads=0, tensor_parallel=1
    )
    shape, most = SHAPES[options.shape], max(options.streams)
    # Pages are of up to 256 tokens.
    tokens = -(-(options.prompt_tokens + options.max_tokens) // 256) * 256 + 256
    kv_cache_bytes = (most + 2) * tokens * shape.kv_values_per_token * 2
    begin = time.monotonic()
    with Session(
        Path(options.shape), engine, prefix_cache=False, max_running=most,
        kv_cache_bytes=kv_cache_bytes, loader=loader,
    ) as session:  # fmt: skip
        status = session.engine.status()
        say(about={"path": status.path, "ready_s": round(time.monotonic() - begin, 1),
                   "engine_notes": status.notes})  # fmt: skip

        def run(prompts: list[list[int]], max_tokens: int, **sampling: Any) -> Batch:
            asked = {"temperature": 0.0, "ignore_eos": True, "seed": 0, **sampling}
            return run_batch(session, prompts, SamplingParams(max_tokens=max_tokens, **asked))

        measure_widths(run, options, say)
        options.streams = options.streams[-2:][:1]
        measure_widths(
            lambda prompts, n: run(prompts, n, temperature=0.8, top_p=0.95),
            options,
            say,
            is_sampled=True,
        )


def measure_transformers(options: argparse.Namespace, way: str, say: Say, hf: Any) -> None:
    """transformers' generate, or its continuous batching, on the same model."""
    import torch

    model = random_model(options.shape, getattr(torch, options.dtype), options.device)
    if way == "generate":
        answer = hf.generate(model)
    else:
        blocks = -(-(options.prompt_tokens + options.max_tokens) // 256)  # of 256 tokens
        num_blocks = max(options.streams) * (blocks + 1)
        answer = hf.continuous(model, num_blocks=num_blocks, max_batch_tokens=2048)

    def run(prompts: list[list[int]], max_tokens: int) -> Batch:
        begin = time.perf_counter()
        return [
            StreamResult(options.prompt_tokens, count, first - begin, last - begin)
            for count, first, last in answer(prompts, max_tokens)
        ]

    say(about={"path": f"transformers {way}, {model.config._attn_implementation}"})
    measure_widths(run, options, say)


def sizes(options: argparse.Namespace) -> dict[str, Any]:
    """What a step of this shape reads and multiplies, for the floor."""
    shape = SHAPES[options.shape]
    parameters = shape.body_parameters + shape.head_parameters
    return {
        "shape": options.shape,
        "dtype": options.dtype,
        "parameters": parameters,
        "weight_bytes": int(parameters * BYTES[options.dtype]),
        "kv_bytes_per_token": 2 * shape.kv_values_per_token,
        "flops_per_token": 2 * parameters,
        "prompt_tokens": options.prompt_tokens,
        "max_tokens": options.max_tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["peaks", "engine", "generate", "continuous"])
    parser.add_argument("shape", nargs="?", choices=list(SHAPES))
    parser.add_argument("dtype", nargs="?", default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--prompt-tokens", type=int)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args()
    if options.part in ("generate", "continuous"):
        import hf  # takes standard output for itself, as below

        pipe = hf.PIPE
    else:
        hf = None
        from protocol import reserve_stdout

        pipe = reserve_stdout()
    out = os.fdopen(pipe, "w")

    def say(**found: Any) -> None:
        print(json.dumps(found), file=out, flush=True)

    status = 0
    try:
        if options.part == "peaks":
            measure_peaks(options.device, say)
        else:
            say(about=sizes(options))
            if options.part == "engine":
                measure_engine(options, say)
            else:
                measure_transformers(options, options.part, say, hf)
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)  # transformers' manager has a thread that would keep the process


if __name__ == "__main__":
    main()
