"""What the engine spends outside the model's arithmetic, per step, at several widths.

Steps the core in this thread with the clock around the backend: everything else (scheduling,
tensors, sampling, records) is overhead. Goal: below 10 % of a step at 16 streams.

Then the same steps while another thread of this process runs Python all the time, and while another
process does: both want a core, so that their difference is what the interpreter's lock costs.

`python bench/engine_overhead.py [--dtype D] [--streams 1,4,8,16]`
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event as ProcessEvent
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.contract import GenerationRequest, SamplingParams, Stamp
from inference.engine.config import EngineConfig
from inference.engine.core import Core
from inference.engine.engine import SWITCH_INTERVAL_S
from inference.engine.loader import folder_loader
from inference.engine.model_runner import ModelRunner
from inference.text import DEFAULT_SLUG, load_text, model_folder

KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "sampled": {"temperature": 0.8, "top_p": 0.95},
    "mixed": {"temperature": 0.8, "top_k": 40, "presence_penalty": 0.3, "logprobs": 5},
}
QUESTIONS = (
    "What is the capital of France, and what is it known for?",
    "Write a short story about a robot who learns to paint.",
    "Explain photosynthesis to a child in simple words.",
    "Give me a recipe for pancakes with few ingredients.",
    "Why is the sky blue? Answer in some detail.",
    "Name the planets in order from the sun and say a word about each.",
    "How does a bicycle stay upright while it moves?",
    "Describe a walk through a forest in autumn.",
)


def timed_steps(
    core: Core, prompts: list[list[int]], width: int, new: int, sampling: dict[str, Any]
) -> tuple[float, float]:
    """Median milliseconds of a decode step, and of what lies outside the backend."""
    inside = 0.0
    forward = core.runner.backend.forward

    def clocked(batch: Any) -> Any:
        nonlocal inside
        begin = time.perf_counter()
        try:
            return forward(batch)
        finally:
            inside += time.perf_counter() - begin

    core.runner.backend.forward = clocked  # type: ignore[method-assign]
    for n in range(width):
        core.admit(
            GenerationRequest(
                request_id=f"{width}-{n}",
                model="bench",
                prompt_token_ids=tuple(prompts[n % len(prompts)]),
                sampling=SamplingParams(max_tokens=new, ignore_eos=True, seed=n, **sampling),
                received=Stamp.now(),
            ),
            Stamp.now(),
        )
    steps: list[tuple[float, float]] = []
    while core.active:
        inside, begin = 0.0, time.perf_counter()
        core.step()
        core.records.clear()  # their events are made beside the next step
        step = time.perf_counter() - begin
        decoding = sum(1 for active in core.scheduler.running if active.num_answer > 2)
        if decoding == width:
            steps.append((step * 1e3, (step - inside) * 1e3))
    core.runner.backend.forward = forward  # type: ignore[method-assign]
    return (
        statistics.median(step for step, _ in steps),
        statistics.median(outside for _, outside in steps),
    )


def spin(end: threading.Event | ProcessEvent) -> None:
    while not end.is_set():
        sum(n * n for n in range(2000))


@contextmanager
def beside(kind: str) -> Iterator[None]:
    """Python at full speed in another thread or in another process; or nothing."""
    if kind == "nothing":
        yield
        return
    end = threading.Event() if kind == "a thread" else multiprocessing.get_context("spawn").Event()
    make: Any = threading.Thread
    if kind == "a process":
        make = multiprocessing.get_context("spawn").Process
    other = make(target=spin, args=(end,))
    other.start()
    try:
        time.sleep(1.0)
        yield
    finally:
        end.set()
        other.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=model_folder(DEFAULT_SLUG))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--streams", default="1,4,8,16")
    parser.add_argument("--max-tokens", type=int, default=48)
    options = parser.parse_args()
    config = EngineConfig(
        model_dir=options.model, dtype=options.dtype, backend=options.backend, prefix_cache=False
    )
    loader = folder_loader(options.model)
    runner = ModelRunner(config, load=loader.load_model)
    core = Core(config, runner, loader.load_text())
    print(f"{runner.backend.name}, {runner.threads} threads")
    text = load_text(options.model)
    prompts = [text.render([{"role": "user", "content": line}]) for line in QUESTIONS]
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as the engine does
    share = 0.0
    for width in [int(n) for n in options.streams.split(",")]:
        for kind, sampling in KINDS.items():
            step_ms, outside_ms = timed_steps(core, prompts, width, options.max_tokens, sampling)
            share = outside_ms / step_ms
            print(
                f"{width:3d} streams {kind:8s} step {step_ms:7.2f} ms, outside the model "
                f"{outside_ms:6.2f} ms, {share:6.1%}",
                flush=True,
            )
    step_ms = {}
    for kind in ("nothing", "a process", "a thread"):
        with beside(kind):
            step_ms[kind], _ = timed_steps(core, prompts, 16, options.max_tokens, KINDS["sampled"])
        print(f" 16 streams sampled  beside {kind:9} step {step_ms[kind]:7.2f} ms", flush=True)
    print(f"thread / process: {step_ms['a thread'] / step_ms['a process']:.2f}")
    print(f"{share:.3f}")


if __name__ == "__main__":
    main()
