"""What others feel when a long prompt arrives, and what reused pages save, on the engine alone.

Prints the p99 gap between tokens of running answers while a 4,000-token prompt is prefilled, over
the idle p99 (goal: at most 2), and the TTFT of a second turn over that of a cold start (goal: at
most 0.3 with 500 tokens or more reused). `python bench/engine_latency.py [--dtype D]`
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.contract import Delta, Event, GenerationRequest, Result, SamplingParams, Stamp
from inference.engine.config import EngineConfig
from inference.engine.engine import Engine
from inference.text import DEFAULT_SLUG, model_folder


class Asker:
    """Submits to an engine and keeps when each token came."""

    def __init__(self, config: EngineConfig) -> None:
        self.results: dict[str, Result] = {}
        self.times: dict[str, list[int]] = {}
        self._changed = threading.Condition()
        self._random = random.Random(7)
        self._count = 0
        self.engine = Engine(config, emit=self._take)
        self.engine.start()
        while self.engine.status().state != "ready":
            if self.engine.status().state == "failed":
                raise SystemExit(self.engine.status().state_detail)
            time.sleep(0.02)

    def _take(self, events: list[Event]) -> None:
        with self._changed:
            for event in events:
                if isinstance(event, Result):
                    self.results[event.request_id] = event
                elif isinstance(event, Delta):
                    self.times.setdefault(event.request_id, []).append(event.mono_ns)
            self._changed.notify_all()

    def prompt(self, length: int) -> list[int]:
        return [self._random.randrange(100, 40_000) for _ in range(length)]

    def ask(self, prompt: list[int], max_tokens: int) -> str:
        self._count += 1
        sampling: dict[str, Any] = {"temperature": 0.0, "ignore_eos": True, "seed": 0}
        self.engine.submit(
            GenerationRequest(
                request_id=str(self._count),
                model="bench",
                prompt_token_ids=tuple(prompt),
                sampling=SamplingParams(max_tokens=max_tokens, **sampling),
                received=Stamp.now(),
            )
        )
        return str(self._count)

    def wait(self, request_id: str, tokens: int | None = None) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    request_id in self.results
                    or (tokens is not None and len(self.times.get(request_id, [])) >= tokens)
                )
            )

    def ttft_ms(self, request_id: str) -> float:
        self.wait(request_id)
        result = self.results[request_id]
        assert result.started is not None
        return (result.token_mono_ns[0] - result.started.mono_ns) / 1e6


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def gaps_ms(times: list[int], begin: int, end: int) -> list[float]:
    inside = [t for t in times if begin <= t <= end]
    return [(b - a) / 1e6 for a, b in itertools.pairwise(inside)]


def gap_ratio(asker: Asker, streams: int, long_tokens: int) -> float:
    running = [asker.ask(asker.prompt(60), 4000) for _ in range(streams)]
    for one in running:
        asker.wait(one, 5)
    begin = time.monotonic_ns()
    time.sleep(3)
    middle = time.monotonic_ns()
    long = asker.ask(asker.prompt(long_tokens), 1)
    ttft_ms = asker.ttft_ms(long)
    end = time.monotonic_ns()
    time.sleep(3)  # contexts have grown meanwhile: idle is what was before and what comes after
    last = time.monotonic_ns()
    idle = [g for one in running for g in gaps_ms(asker.times[one], begin, middle)]
    idle += [g for one in running for g in gaps_ms(asker.times[one], end, last)]
    busy = [g for one in running for g in gaps_ms(asker.times[one], middle, end)]
    for one in running:
        asker.engine.cancel(one)
        asker.wait(one)
    ratio = p99(busy) / p99(idle)
    print(
        f"{streams} streams: gap p50 {statistics.median(idle):.1f} p99 {p99(idle):.1f} ms idle, "
        f"p50 {statistics.median(busy):.1f} p99 {p99(busy):.1f} ms while {long_tokens} tokens are "
        f"prefilled in {ttft_ms:.0f} ms; p99 ratio {ratio:.2f}",
        flush=True,
    )
    return ratio


def second_turn_ratio(asker: Asker, reused: int) -> float:
    cold, warm = [], []
    for _ in range(5):
        first = asker.prompt(reused)
        cold.append(asker.ttft_ms(asker.ask(asker.prompt(reused + 30), 1)))
        asker.wait(asker.ask(first, 1))
        warm.append(asker.ttft_ms(asker.ask(first + asker.prompt(30), 1)))
    ratio = statistics.median(warm) / statistics.median(cold)
    print(
        f"TTFT of {reused + 30} tokens: cold {statistics.median(cold):.1f} ms, with {reused} "
        f"reused {statistics.median(warm):.1f} ms; ratio {ratio:.2f}",
        flush=True,
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=model_folder(DEFAULT_SLUG))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--long", type=int, default=4000)
    options = parser.parse_args()
    asker = Asker(
        EngineConfig(model_dir=options.model, dtype=options.dtype, backend=options.backend)
    )
    print(asker.engine.status().path, flush=True)
    turn = second_turn_ratio(asker, 512)
    worst = max(gap_ratio(asker, streams, options.long) for streams in options.streams)
    asker.engine.stop()
    print(f"{worst:.2f} {turn:.2f}")


if __name__ == "__main__":
    main()
