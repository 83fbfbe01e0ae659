"""What it costs to keep how each token was chosen: per step, per token in the database, to open.

Steps the core in this thread with and without records, in turns, and clocks the sampler alone too,
because a busy machine blurs whole steps; there the CPU time of all threads says most. Goal: below
2 % of a step, by the quiet tenth of them.

`python bench/token_trace.py [--dtype D] [--streams 1,8]`; the last line is the largest share.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")

from bench.engine_overhead import QUESTIONS
from inference.contract import GenerationRequest, SamplingParams, Stamp
from inference.engine.config import EngineConfig
from inference.engine.core import Core
from inference.engine.engine import SWITCH_INTERVAL_S
from inference.engine.loader import folder_loader
from inference.engine.model_runner import ModelRunner
from inference.engine.output import TokenSampled
from inference.text import DEFAULT_SLUG, load_text, model_folder

BALANCED: dict[str, Any] = {
    "temperature": 0.6, "top_p": 0.92, "min_p": 0.05, "repetition_penalty": 1.1,
}  # fmt: skip


class Timed(NamedTuple):
    """Milliseconds of each full step and of its sampler, by the clock and of all threads' CPU time,
    and one answer's records."""

    steps: list[float]
    samplers: list[float]
    steps_cpu: list[float]
    samplers_cpu: list[float]
    kept: list[bytes]


def steps_of(
    core: Core, prompts: list[list[int]], *, width: int, new: int, wants_records: bool
) -> Timed:
    """Run `width` answers of `new` tokens, all at once."""
    spent = spent_cpu = 0.0
    sample = core._sampler.sample

    def clocked(*args: Any, **options: Any) -> Any:
        nonlocal spent, spent_cpu
        begin, begin_cpu = time.perf_counter(), time.process_time()
        try:
            return sample(*args, **options)
        finally:
            spent += time.perf_counter() - begin
            spent_cpu += time.process_time() - begin_cpu

    core._sampler.sample = clocked  # type: ignore[method-assign]
    for n in range(width):
        core.admit(
            GenerationRequest(
                request_id=f"{time.monotonic_ns()}-{n}",
                model="bench",
                prompt_token_ids=tuple(prompts[n % len(prompts)]),
                sampling=SamplingParams(max_tokens=new, ignore_eos=True, seed=n, **BALANCED),
                received=Stamp.now(),
                wants_records=wants_records,
            ),
            Stamp.now(),
        )
    steps, samplers, kept = [], [], []
    steps_cpu, samplers_cpu = [], []
    while core.active:
        spent, spent_cpu = 0.0, 0.0
        begin, begin_cpu = time.perf_counter(), time.process_time()
        core.step()
        step, step_cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
        for record in core.records:
            if isinstance(record, TokenSampled) and record.active.seed == 0:
                kept.append(record.record)
        core.records.clear()
        if sum(1 for a in core.scheduler.running if a.num_answer > 2) == width:
            steps.append(step * 1e3)
            samplers.append(spent * 1e3)
            steps_cpu.append(step_cpu * 1e3)
            samplers_cpu.append(spent_cpu * 1e3)
    core._sampler.sample = sample  # type: ignore[method-assign]
    return Timed(steps, samplers, steps_cpu, samplers_cpu, kept)


def tenth(values: list[float]) -> float:
    """The value that a tenth of all lie below: what a busy machine leaves undisturbed."""
    return sorted(values)[len(values) // 10]


def opened(kept: list[bytes], tokens: int) -> None:
    """Print how many bytes a token takes, and how long `tokens` of them take to unpack."""
    import django

    django.setup()
    from chatsite.generation import token_trace

    size = len(token_trace.pack(kept, [3000] * len(kept)))
    print(f"{len(kept)} tokens take {size} bytes, {size / len(kept):.0f} a token")
    many = (kept * (tokens // len(kept) + 1))[:tokens]
    begin = time.perf_counter()
    data = token_trace.pack(many, [3000] * tokens)
    packed = time.perf_counter()
    token_trace.unpack(data, first=0)
    print(
        f"{tokens} tokens: packed in {(packed - begin) * 1e3:.1f} ms, "
        f"unpacked in {(time.perf_counter() - packed) * 1e3:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=model_folder(DEFAULT_SLUG))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--streams", default="1,8")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--turns", type=int, default=4)
    options = parser.parse_args()
    config = EngineConfig(
        model_dir=options.model, dtype=options.dtype, backend=options.backend, prefix_cache=False
    )
    loader = folder_loader(options.model)
    runner = ModelRunner(config, load=loader.load_model)
    core = Core(config, runner, loader.load_text())
    print(f"{runner.backend.name} {runner.dtype}, {runner.threads} threads")
    text = load_text(options.model)
    prompts = [text.render([{"role": "user", "content": line}]) for line in QUESTIONS]
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as the engine does
    largest, kept = 0.0, []
    for width in [int(n) for n in options.streams.split(",")]:
        both = {False: Timed([], [], [], [], []), True: Timed([], [], [], [], [])}
        for turn in range(2 * options.turns):
            wants = turn % 4 in (1, 2)  # without, with, with, without
            found = steps_of(
                core, prompts, width=width, new=options.max_tokens, wants_records=wants
            )
            for all_of, these in zip(both[wants][:4], found[:4], strict=True):
                all_of += these
            kept = found.kept if wants else kept
        for name, of, first in (
            ("median", statistics.median, 0), ("quiet", tenth, 0), ("CPU", tenth, 2),
        ):  # fmt: skip
            without, with_records = of(both[False][first]), of(both[True][first])
            cost = of(both[True][first + 1]) - of(both[False][first + 1])
            share = cost / without
            print(
                f"{width:3d} streams, {name:6}: step {without:.3f} ms without, {with_records:.3f} "
                f"with; the sampler takes {cost * 1e3:.0f} µs more, {share:.2%} of a step",
                flush=True,
            )
        largest = max(largest, share)
    opened(kept, 2000)
    print(f"{largest:.4f}")


if __name__ == "__main__":
    main()
