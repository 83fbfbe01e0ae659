"""Two models at once on one machine: does one starve the other?

    python bench/two_models.py [--dtypes int4,int8] [--streams 4] [--seconds 10] [--json FILE]

Two engines in two processes, each with a thread per core as two workers have. Each is measured
alone, the other stopped (SIGSTOP), then both at once: closed loops of batches until both have been
measured for so long. What an engine has of its own speed is its share; half is fair, since they
have the same cores. Ends with 1 if one has less than a third.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.engine import KEPT, machine
from bench.peers.process import ROOT, Entry, Peer
from inference.command.bench import read_prompts
from inference.command.closed_loop import Batch, figures
from inference.command.session import find_model, print_status
from inference.text import DEFAULT_SLUG, load_text

LEAST_SHARE = 1 / 3


def alone(peer: Peer, prompts: list[list[int]], options: argparse.Namespace) -> list[Batch]:
    """Batches of one engine while the other stands still."""
    found: list[Batch] = []
    with peer.turn(prompts[0]):
        end = time.monotonic() + options.seconds
        while not found or time.monotonic() < end:
            found.append(
                peer.batch(_next(prompts, options.streams, len(found)), options.max_tokens)
            )
    return found


def together(
    peers: Sequence[Peer], prompts: list[list[int]], options: argparse.Namespace
) -> list[list[Batch]]:
    """Batches of each engine while all of them work.

    One that has been measured goes on until the others have been, too.
    """
    found: list[list[Batch]] = [[] for _ in peers]
    is_measured = [threading.Event() for _ in peers]
    failures: list[Exception] = []

    def load(index: int) -> None:
        turn, end = 0, time.monotonic() + options.seconds
        try:
            while not all(event.is_set() for event in is_measured):
                batch = peers[index].batch(
                    _next(prompts, options.streams, turn), options.max_tokens
                )
                turn += 1
                if not is_measured[index].is_set():
                    found[index].append(batch)
                if time.monotonic() > end:
                    is_measured[index].set()
        except Exception as error:
            failures.append(error)
            for event in is_measured:
                event.set()

    with peers[0].turn(prompts[0]), peers[1].turn(prompts[0]):
        threads = [threading.Thread(target=load, args=(n,)) for n in range(len(peers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return found


def shares(
    names: Sequence[str], apart: list[dict[str, Any]], at_once: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """For each engine its figures alone and together, and the share of its speed that it kept."""
    return [
        {
            "engine": name,
            "alone": one,
            "together": both,
            "share": round(both["tokens_per_s"] / one["tokens_per_s"], 3),
        }
        for name, one, both in zip(names, apart, at_once, strict=True)
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """A line per engine, and who starves."""
    lines = [
        "| engine | tokens/s alone | together | share | TPOT p50 alone | together | p99 together |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        one, both = row["alone"], row["together"]
        tpots = (one["tpot_ms"]["p50"], both["tpot_ms"]["p50"], both["tpot_ms"]["p99"])
        lines.append(
            f"| {row['engine']} | {one['tokens_per_s']:,.0f} | {both['tokens_per_s']:,.0f} "
            f"| {row['share']:.0%} | " + " | ".join(f"{tpot:.1f}" for tpot in tpots) + " |"
        )
    lines += [
        f"{row['engine']} starves: {row['share']:.0%} of its own speed, less than a third."
        for row in rows
        if row["share"] < LEAST_SHARE
    ]
    return "\n".join(lines)


def _next(prompts: list[list[int]], streams: int, turn: int) -> list[list[int]]:
    return [prompts[(turn * streams + n) % len(prompts)] for n in range(streams)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=f"{DEFAULT_SLUG},{DEFAULT_SLUG}")
    parser.add_argument("--dtypes", default="int4,int8", help="of the first and of the second")
    parser.add_argument("--prompts", type=Path, default=ROOT / "bench" / "prompts.jsonl")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    folders = [find_model(name) for name in options.models.split(",")]
    dtypes = options.dtypes.split(",")
    if len(folders) != 2 or len(dtypes) != 2:
        parser.error("--models and --dtypes name two each, as in int4,int8")
    prompts = read_prompts(options.prompts, load_text(find_model(DEFAULT_SLUG)))
    KEPT.mkdir(parents=True, exist_ok=True)
    names = [
        f"{n}: {folder.name} {dtype}"
        for n, (folder, dtype) in enumerate(zip(folders, dtypes, strict=True), start=1)
    ]
    about = machine()
    peers: list[Peer] = []
    try:
        for number, (name, folder, dtype) in enumerate(zip(names, folders, dtypes, strict=True)):
            entry = Entry(name, "", ("ours.py", str(folder), dtype))
            peers.append(Peer(entry, KEPT / f"two-models-{number + 1}.log"))
            peers[-1].settle(prompts, options.streams)
        apart = [figures(alone(peer, prompts, options)) for peer in peers]
        at_once = [figures(batches) for batches in together(peers, prompts, options)]
    finally:
        for peer in peers:
            peer.close()
    rows = shares(names, apart, at_once)
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "models": rows}, indent=1) + "\n")
    print_status(f"{about['cpu']}, {about['cores']} cores")
    print(table(rows))
    return 1 if any(row["share"] < LEAST_SHARE for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
