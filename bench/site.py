"""What the site adds to the engine, and whether it loses tokens.

Starts the whole site (`manage.py up`) in a data folder of its own, chats over real sockets at 1, 4
and 8 streams, and runs the same prompts through an engine in this process in turn. Site, engine and
this client share one monotonic clock, so each token's way from the sampler to the socket is exact.
Each width is repeated until it has --samples answers of either side; over fewer than a hundred
the tail is called what it is, the maximum, and not p99. Then 64 streams at once: every token must
arrive, in order, once.

    python bench/site.py [--samples 100] [--max-tokens 64] [--json FILE]

The ratio (site / engine) comes last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WIDTHS = (1, 4, 8)
ENOUGH_FOR_P99 = 100
QUESTIONS = (
    "What is a token, and why do language models count in them?",
    "Explain to a child why the sky is blue.",
    "Write a short story about a lighthouse keeper who learns to cook.",
    "List five things to check before a long bicycle tour, with one reason each.",
    "How does a bank differ from a bench, and why do some languages use one word for both?",
    "Describe the life of a letter from the writer's desk to the reader's hands.",
    "Give me three names for a small bakery and say why each would work.",
    "What happens in a computer between pressing a key and seeing the letter?",
)


@dataclass
class Stream:
    """What one answer looked like from outside. Times are monotonic ns."""

    sent_ns: int = 0
    arrivals: list[tuple[int, int]] = field(default_factory=list)  # (tokens so far, when)
    text: str = ""
    tokens: int = 0
    lost: int = 0
    request: str = ""
    message: dict[str, Any] = field(default_factory=dict)

    @property
    def ttft_ms(self) -> float:
        return (self.arrivals[0][1] - self.sent_ns) / 1e6

    @property
    def tpot_ms(self) -> float:
        (first, begin), (last, end) = self.arrivals[0], self.arrivals[-1]
        return (end - begin) / 1e6 / max(1, last - first)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else float("nan")


def tail_of(values: list[float]) -> float:
    """p99, or the maximum of what is too little for a p99."""
    return percentile(values, 0.99 if len(values) >= ENOUGH_FOR_P99 else 1.0)


# --- the whole site ------------------------------------------------------------------------------


class Site:
    """`manage.py up` on a free port with its own data and one signed-in person."""

    def __init__(self, data: Path, max_tokens: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.max_tokens = max_tokens
        models = os.environ.get("CHATSITE_MODELS", str(ROOT / "var" / "models"))
        self.env = os.environ | {
            "CHATSITE_DATA": str(data),
            "CHATSITE_MODELS": models,
            "PORT": str(self.port),
            "HOST": "127.0.0.1",
            "MAX_CONCURRENT_ANSWERS": "1000",
        }
        self.log = (data / "site.log").open("w")

    def __enter__(self) -> Site:
        self._manage("migrate", "-v0")
        setup = (
            "from django.contrib.sessions.backends.db import SessionStore\n"
            "from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY\n"
            "from chatsite.accounts.models import User\n"
            "from chatsite.catalog.models import SamplingPreset\n"
            f"SamplingPreset.objects.update(temperature=0, max_tokens={self.max_tokens})\n"
            "u = User.objects.create_user('bench')\n"
            "s = SessionStore()\n"
            "s[SESSION_KEY] = str(u.pk)\n"
            "s[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'\n"
            "s[HASH_SESSION_KEY] = u.get_session_auth_hash()\n"
            "s.save()\n"
            "print('SESSION', s.session_key)\n"
        )
        out = self._manage("shell", "-c", setup)
        self.session = out.split("SESSION ", 1)[1].split()[0]
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT, env=self.env, stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def _manage(self, *args: str) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT, env=self.env, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    def _wait_ready(self) -> None:
        import httpx

        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                sys.exit(f"the site stopped; see {self.log.name}")
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.3)
        sys.exit(f"the site was not ready within 180 s; see {self.log.name}")

    def stored(self, requests: list[str]) -> dict[str, dict[str, Any]]:
        """What the database says of these requests: received (ns), token offsets, text."""
        code = (
            "import json, sys\n"
            "from chatsite.generation.models import Generation\n"
            "from chatsite.chat.models import Message\n"
            f"ids = {requests!r}\n"
            "text = dict(Message.objects.filter(request_id__in=ids).values_list('request_id', 'text'))\n"
            "rows = {str(g.request_id): [g.received_stamp['mono_ns'], g.token_offsets_us,"
            " g.completion_tokens, text.get(g.request_id, '')]"
            " for g in Generation.objects.filter(request_id__in=ids)}\n"
            "print('ROWS', json.dumps(rows))\n"
        )
        rows = json.loads(self._manage("shell", "-c", code).split("ROWS ", 1)[1])
        names = ("received_ns", "offsets_us", "tokens", "text")
        return {key: dict(zip(names, row, strict=True)) for key, row in rows.items()}

    async def chat(self, questions: list[str]) -> list[Stream]:
        """One socket per question, all sent at once."""
        return list(await asyncio.gather(*(self._one(q) for q in questions)))

    async def _one(self, question: str) -> Stream:
        from websockets.asyncio.client import connect

        stream = Stream()
        async with connect(
            f"ws://127.0.0.1:{self.port}/ws/chat/",
            origin=f"http://127.0.0.1:{self.port}",  # type: ignore[arg-type]
            additional_headers={"Cookie": f"sessionid={self.session}"},
            max_size=None,
        ) as ws:
            json.loads(await ws.recv())
            ids = {name: str(uuid.uuid4()) for name in ("question", "answer", "request")}
            frame = {"type": "send", **ids, "text": question}
            stream.sent_ns = time.monotonic_ns()
            await ws.send(json.dumps(frame))
            while True:
                frame = json.loads(await asyncio.wait_for(ws.recv(), 180))
                now = time.monotonic_ns()
                if frame["type"] == "accepted" and not stream.request:
                    if len(frame["messages"]) == 2 and frame["messages"][0]["text"] == question:
                        stream.request = frame["messages"][-1]["request"]
                elif frame["type"] == "error":
                    raise RuntimeError(frame)
                elif frame.get("request") != stream.request:
                    continue
                elif frame["type"] == "delta":
                    stream.lost += frame["position"] - stream.tokens
                    stream.tokens = frame["position"] + frame["count"]
                    stream.text = stream.text[: frame["offset"]] + frame["text"]
                    stream.arrivals.append((stream.tokens, now))
                elif frame["type"] == "ended":
                    stream.message = frame["message"]
                    return stream


# --- the engine alone ----------------------------------------------------------------------------


class Alone:
    """The same engine without the site, in this process."""

    def __init__(self, max_tokens: int) -> None:
        from inference.engine import Engine, EngineConfig

        self.max_tokens = max_tokens
        self.slug = "smollm2-135m-instruct"
        models = Path(os.environ.get("CHATSITE_MODELS", ROOT / "var" / "models"))
        self.streams: dict[str, Stream] = {}
        self.done: dict[str, bool] = {}
        self.engine = Engine(EngineConfig(model_dir=models / self.slug), emit=self._emit)
        self.engine.start()

    def _emit(self, events: list[Any]) -> None:
        from inference.contract import Delta, Result

        now = time.monotonic_ns()
        for event in events:
            if isinstance(event, Delta):
                stream = self.streams[event.request_id]
                stream.tokens += len(event.token_ids)
                stream.arrivals.append((stream.tokens, now))
            elif isinstance(event, Result):
                self.done[event.request_id] = True

    def chat(self, questions: list[str]) -> list[Stream]:
        from inference import client
        from inference.contract import GenerationRequest, SamplingParams, Stamp

        batch = []
        for question in questions:
            turns = [{"role": "user", "content": question}]
            fitted = client.fit(self.slug, turns, max_tokens=self.max_tokens)
            batch.append(tuple(fitted.token_ids))
        ids = []
        for tokens in batch:
            request_id = uuid.uuid4().hex
            self.streams[request_id] = Stream(sent_ns=time.monotonic_ns())
            ids.append(request_id)
            self.engine.submit(
                GenerationRequest(
                    request_id=request_id,
                    model=self.slug,
                    prompt_token_ids=tokens,
                    sampling=SamplingParams(temperature=0.0, max_tokens=self.max_tokens, seed=1),
                    received=Stamp.now(),
                )
            )
        deadline = time.monotonic() + 300
        while not all(self.done.get(i) for i in ids) and time.monotonic() < deadline:
            time.sleep(0.002)
        return [self.streams[i] for i in ids]


def asked(width: int, round_: int) -> list[str]:
    """Questions no run has asked before, so that no prefix cache helps either side."""
    return [
        f"({uuid.uuid4().hex[:6]}) {QUESTIONS[(round_ + n) % len(QUESTIONS)]}" for n in range(width)
    ]


def describe(streams: list[Stream]) -> dict[str, float]:
    ttft = [s.ttft_ms for s in streams]
    tpot = [s.tpot_ms for s in streams if len(s.arrivals) > 1]
    return {
        "n": len(streams),
        "ttft_p50": percentile(ttft, 0.5),
        "ttft_tail": tail_of(ttft),
        "tpot_p50": percentile(tpot, 0.5),
        "tpot_tail": tail_of(tpot),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=ENOUGH_FOR_P99, help="answers per width")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--burst", type=int, default=64)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    tail = "p99" if args.samples >= ENOUGH_FOR_P99 else "max"
    report: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "tail": tail, "widths": {}}
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder), args.max_tokens) as site:
        alone = Alone(args.max_tokens)
        asyncio.run(site.chat(asked(1, 0)))  # warm both
        alone.chat(asked(1, 0))
        head = (
            f"{'streams':>7}  {'':6} {'n':>4} {'TTFT p50':>9} {tail:>9} {'TPOT p50':>9} {tail:>9}"
        )
        print(head, " ms")
        for width in WIDTHS:
            through: list[Stream] = []
            engine: list[Stream] = []
            for round_ in range(
                math.ceil(args.samples / width)
            ):  # in turn, so that both see the same machine
                through += asyncio.run(site.chat(asked(width, round_)))
                engine += alone.chat(asked(width, round_))
            added = {"site": describe(through), "engine": describe(engine)}
            added["delivery"] = delivery(through, site)
            report["widths"][width] = added
            for name in ("site", "engine"):
                row = added[name]
                figures = (f"{row[k]:9.2f}" for k in row if k != "n")
                print(f"{width:>7}  {name:6} {row['n']:>4}", *figures, flush=True)
        alone.engine.stop(10)
        burst = asyncio.run(site.chat(asked(args.burst, 0)))
        stored = site.stored([s.request for s in burst])
        lost = sum(s.lost for s in burst)
        differ = sum(s.text.rstrip() != stored[s.request]["text"].rstrip() for s in burst)
        short = sum(stored[s.request]["tokens"] - s.tokens for s in burst)
        report["burst"] = {
            "streams": args.burst, "tokens": sum(s.tokens for s in burst),
            "lost": lost + short, "texts_differing": differ,
        }  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))
    for width, row in report["widths"].items():
        way = row["delivery"]
        print(
            f"{width} streams: sampler → socket p50 {way['p50']:.2f} ms, p99 {way['p99']:.2f} ms "
            f"of {way['n']} arrivals"
        )
    b = report["burst"]
    print(
        f"{b['streams']} streams: {b['tokens']} tokens, lost {b['lost']}, texts differing {b['texts_differing']}"
    )
    for key in ("ttft_p50", "tpot_p50"):
        ratios = [w["site"][key] / w["engine"][key] for w in report["widths"].values()]
        print(f"site / engine, {key}: " + "  ".join(f"{r:.2f}" for r in ratios),
              f"(mean {statistics.mean(ratios):.2f})")  # fmt: skip
    if b["lost"] or b["texts_differing"]:
        sys.exit("tokens were lost")


def delivery(streams: list[Stream], site: Site) -> dict[str, float]:
    """Each token's way from the sampler to this client, ms."""
    stored = site.stored([s.request for s in streams])
    ways: list[float] = []
    for stream in streams:
        row = stored[stream.request]
        sampled = [row["received_ns"] // 1000 + offset for offset in row["offsets_us"]]
        for count, when in stream.arrivals:
            if 0 < count <= len(sampled):
                ways.append((when // 1000 - sampled[count - 1]) / 1000)
    return {"n": len(ways), "p50": percentile(ways, 0.5), "p99": percentile(ways, 0.99)}


if __name__ == "__main__":
    main()
