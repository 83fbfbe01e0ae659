"""How close the native kernels come to what this machine can do.

    python bench/kernels.py [--rows 1,4,8,16,256] [--context 128,2048] [--json]

Multiplies the linears of a whole decode step or prefill chunk (the shapes of SmolLM2-135M, thirty
layers, each with weights of its own, so that they come from memory as they do in a step) and attends
over pages. Prints ms per step, GFLOP/s and GB/s and their share of the peaks measured first; the
ratio to torch's own BF16 linears comes last.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.engine.native.build import load_kernels

LAYERS, WIDTH, MLP, HEADS, KV_HEADS, DIM = 30, 576, 1536, 9, 3, 64
SHAPES = [(960, 576), (576, 576), (3072, 576), (576, 1536)]  # outputs, inputs of one layer
PAGE = 32
FORMATS = {"bfloat16": 0, "int8": 1, "int4": 2}


def best_of(work: Callable[[], object], seconds: float = 0.4) -> float:
    """The quickest run, in seconds, of as many as fit."""
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def linears(kernels: Any, rows: list[int], peaks: dict[str, float]) -> list[dict[str, Any]]:
    found = []
    for dtype, form in FORMATS.items():
        layers = [
            [kernels.Packed(torch.randn(n, k), form, None) for n, k in SHAPES]
            for _ in range(LAYERS)
        ]
        size = sum(packed.nbytes for layer in layers for packed in layer)
        for m in rows:
            wide, narrow = torch.randn(m, WIDTH), torch.randn(m, WIDTH)

            def step(layers: Any = layers, wide: Any = wide, narrow: Any = narrow) -> None:
                for qkv, out, gate_up, down in layers:
                    kernels.linear(wide, qkv)
                    kernels.linear(narrow, out)
                    kernels.gated_mlp(wide, gate_up, down, 0)

            s = best_of(step)
            work = 2 * m * LAYERS * sum(n * k for n, k in SHAPES)
            peak = peaks["bf16_flops_s"] if dtype == "bfloat16" else peaks["int8_ops_s"]
            found.append(
                {
                    "kernel": f"linear {dtype}",
                    "rows": m,
                    "ms": s * 1e3,
                    "gflop_s": work / s / 1e9,
                    "gb_s": size / s / 1e9,
                    "of_flops_peak": work / s / peak,
                    "of_read_peak": size / s / peaks["read_bytes_s"],
                }
            )
    return found


def torch_linears(rows: list[int]) -> dict[int, float]:
    layers = [[torch.randn(n, k).bfloat16() for n, k in SHAPES] for _ in range(LAYERS)]
    found = {}
    for m in rows:
        xs = [torch.randn(m, k).bfloat16() for _, k in SHAPES]

        def step(xs: Any = xs) -> None:
            for layer in layers:
                for x, w in zip(xs, layer, strict=True):
                    F.linear(x, w)

        found[m] = best_of(step)
    return found


def attention(
    kernels: Any, contexts: list[int], rows: int, peaks: dict[str, float]
) -> list[dict[str, Any]]:
    found = []
    for context in contexts:
        for name, sequences, tokens in (("decode", rows, 1), ("prefill", 1, context)):
            width = -(-context // PAGE)
            table = (1 + torch.randperm(sequences * width)).view(sequences, width).int()
            caches = [
                torch.zeros(1 + sequences * width, KV_HEADS, PAGE * DIM, dtype=torch.bfloat16)
                for _ in range(2)
            ]
            at = torch.arange(context - tokens, context).repeat(sequences)
            row = torch.arange(sequences).repeat_interleave(tokens)
            slots = table[row, at // PAGE].long() * PAGE + at % PAGE
            q = torch.randn(len(at), HEADS, DIM)
            k, v = torch.randn(len(at), KV_HEADS, DIM), torch.randn(len(at), KV_HEADS, DIM)

            def step(args: Any = (q, k, v, *caches, PAGE, at, slots, row, table)) -> None:
                kernels.attend(*args, DIM**-0.5, 0, 0.0, None)

            s = best_of(step)
            pairs = sequences * (context if tokens == 1 else context * (context + 1) / 2)
            work, size = 4 * HEADS * DIM * pairs, sequences * context * KV_HEADS * DIM * 4
            found.append(
                {
                    "kernel": f"attention {name}",
                    "rows": f"{sequences} x {context}",
                    "ms": LAYERS * s * 1e3,
                    "gflop_s": work / s / 1e9,
                    "gb_s": size / s / 1e9,
                    "of_flops_peak": work / s / peaks["bf16_flops_s"],
                    "of_read_peak": size / s / peaks["read_bytes_s"],
                }
            )
    return found


def measure_peaks(kernels: Any) -> dict[str, float]:
    data = torch.ones(1 << 28, dtype=torch.uint8)
    return {
        "bf16_flops_s": max(kernels.peak_bf16(), kernels.peak_matrix_bf16()),
        "int8_ops_s": max(kernels.peak_bytes(), kernels.peak_matrix_bytes()),
        "fp32_flops_s": kernels.peak_fp32(),
        "read_bytes_s": kernels.peak_read(data),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--rows", type=numbers, default=[1, 4, 8, 16, 32, 256])
    parser.add_argument("--context", type=numbers, default=[128, 1024])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    kernels = load_kernels()
    peaks = measure_peaks(kernels)
    table = linears(kernels, options.rows, peaks)
    table += attention(kernels, options.context, 16, peaks)
    theirs = torch_linears(options.rows)
    ratios = {
        f"{entry['kernel']} at {entry['rows']}": theirs[entry["rows"]] * 1e3 / entry["ms"]
        for entry in table
        if entry["rows"] in theirs
    }
    if options.json:
        print(json.dumps({"peaks": peaks, "kernels": table, "times_torch_bf16": ratios}))
        return
    print("  ".join(f"{name} {value / 1e9:,.0f} G" for name, value in peaks.items()))
    print(
        f"{'kernel (30 layers)':22}{'rows':>10}{'ms':>9}{'GFLOP/s':>9}{'GB/s':>7}{'of peaks':>16}"
    )
    for e in table:
        shares = f"{e['of_flops_peak']:.0%} / {e['of_read_peak']:.0%}"
        print(
            f"{e['kernel']:22}{e['rows']!s:>10}{e['ms']:9.2f}{e['gflop_s']:9.0f}{e['gb_s']:7.1f}"
            f"{shares:>16}"
        )
    print("times torch's own BF16 linears:")
    print("  ".join(f"{name}: {ratio:.1f}" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
