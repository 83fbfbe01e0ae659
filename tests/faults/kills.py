"""Kills the worker of a site that `manage.py up` runs, again and again in mid-answer, and counts.

    python -m tests.faults.kills 30 [--at-once]

Two answers run at each kill. Prints for each what became of it, and at last how many went on from
their last token by themselves, how many were interrupted, and how long they stood still, with the
machine's load beside it: on a busy one the figures are its own. With --at-once the worker that has
just taken over is killed, before there is another one on standby.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tests.chatsite.supervisor.test_up import ROOT, Up, first_administrator, run, until
from tests.support.page import question


async def answer(site: Up, cookies: str, text: str, killed: asyncio.Event) -> dict[str, Any]:
    """Ask, and follow the answer past the kill: until it goes on, or ends."""
    url = site.url.replace("http", "ws") + "/ws/chat/"
    tokens, began, request, message = 0, asyncio.Event(), "", ""
    found: dict[str, Any] = {"began": began, "went_on_s": None, "state": ""}

    async def follow() -> None:
        nonlocal tokens, request, message
        async with connect(
            url,
            origin=site.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
        ) as socket:
            await socket.send(question(text, preset="endless"))
            killed_at = None
            while True:
                frame = json.loads(await asyncio.wait_for(socket.recv(), 120))
                if killed.is_set() and killed_at is None:
                    killed_at = time.monotonic()
                if frame["type"] == "error":  # perhaps too many: those of the kill before went on
                    found["state"] = frame["code"]
                    began.set()
                    return
                if frame["type"] == "accepted" and not request:
                    request = frame["messages"][-1]["request"]
                    message = frame["messages"][-1]["id"]
                if frame["type"] == "phase" and frame.get("phase") == "recovering" and killed_at:
                    found["state"] = "recovering"
                if frame["type"] == "delta" and frame["request"] == request:
                    assert frame["position"] <= tokens, "a token is missing"
                    tokens = max(tokens, frame["position"] + frame["count"])
                    if tokens >= 8:
                        began.set()
                    if found["state"] == "recovering":
                        found["went_on_s"] = time.monotonic() - found["killed_at"]
                        found["state"] = "went on"
                        await socket.send(json.dumps({"type": "stop", "message": message}))
                        return
                if frame["type"] == "ended" and frame["message"]["request"] == request:
                    began.set()
                    found["state"] = frame["message"]["finish_reason"]
                    found["ended_s"] = time.monotonic() - found.get("killed_at", time.monotonic())
                    return

    found["task"] = asyncio.create_task(follow())
    return found


async def one_kill(site: Up, cookies: str, number: int) -> list[dict[str, Any]]:
    killed = asyncio.Event()
    both = [await answer(site, cookies, f"Tell me of {n}{number}.", killed) for n in "ab"]
    for found in both:
        await asyncio.wait_for(found["began"].wait(), 90)
    await asyncio.sleep(random.Random(number).uniform(0, 1))
    pid = site.children()["inference.worker"].pid
    for found in both:
        found["killed_at"] = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    killed.set()
    await asyncio.gather(*(found["task"] for found in both))
    return both


def main(kills: int, *, is_at_once: bool) -> None:
    for name, folder in (("CHATSITE_MODELS", "models"), ("CHATSITE_KERNELS", "kernels")):
        os.environ.setdefault(name, str(ROOT / "var" / folder))
    data = Path(tempfile.mkdtemp(prefix="kills-"))
    site = Up(data)
    until(site.is_usable, timeout_s=600)
    try:
        person: httpx.Client = first_administrator(site)
        cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
        code = (
            "from chatsite.catalog.models import SamplingPreset as P\n"
            "P.objects.create(slug='endless', name='Endless', temperature=2, max_tokens=4000,"
            " repetition_penalty=1.2, seed=7)"
        )
        run(data, "shell", "--no-imports", "-c", code)
        went_on: list[float] = []
        ends: list[str] = []
        for number in range(kills):
            if not is_at_once or number == 0:
                # At rest: each worker that was killed has a successor on standby.
                until(lambda: site.said.count(" is ready: ") >= number + 2, timeout_s=300)  # noqa: B023
            print(f"load {os.getloadavg()[0]:.1f}", end=" ")
            for found in asyncio.run(one_kill(site, cookies, number)):
                if found["went_on_s"] is not None:
                    went_on.append(found["went_on_s"])
                else:
                    ends.append(found["state"])
                print(number, found["state"], found["went_on_s"], flush=True)
        print(f"{len(went_on)} went on, {len(ends)} did not {sorted(set(ends))}")
        if went_on:
            print(f"after {statistics.median(went_on):.1f} s (median), {max(went_on):.1f} s (most)")
    finally:
        run(data, "down")


if __name__ == "__main__":
    main(int(sys.argv[1]), is_at_once="--at-once" in sys.argv[2:])
