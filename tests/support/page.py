"""A person at a site of processes, without a browser: signed in over HTTP, one socket per tab."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tests.support.frames import asking
from tests.support.stack import Stack

PASSWORD = "a long pass phrase"

PRESETS = """
from chatsite.catalog.models import SamplingPreset as P
P.objects.update(temperature=0, max_tokens=40, repetition_penalty=1.0)
P.objects.create(slug='brief', name='Brief', temperature=0, max_tokens=12)
P.objects.create(slug='long', name='Long', temperature=0, max_tokens=300)
P.objects.create(slug='longer', name='Longer', temperature=0, max_tokens=1200)
P.objects.create(slug='endless', name='Endless', temperature=2, max_tokens=4000,
                 repetition_penalty=1.2, seed=7)
"""
"""Answers that don't depend on chance: of some words, and longer than a test waits for."""


def sign_in(site: Stack, name: str) -> httpx.Client:
    client = httpx.Client(base_url=site.url, follow_redirects=True, timeout=20)
    client.get("/accounts/sign-in/")
    form = {
        "username": name,
        "password": PASSWORD,
        "csrfmiddlewaretoken": client.cookies["csrftoken"],
    }
    page = client.post("/accounts/sign-in/", data=form, headers={"Referer": site.url})
    assert page.status_code == 200
    return client


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"X-CSRFToken": client.cookies["csrftoken"], "Referer": str(client.base_url)}
    return client.post(path, json=body, headers=headers)


class Page:
    """What a browser tab does, without a browser: one socket, the delta rule, replay by position."""

    def __init__(self, site: Stack, client: httpx.Client) -> None:
        self.site = site
        self.cookies = "; ".join(f"{k}={v}" for k, v in client.cookies.items())
        self.text, self.tokens, self.request = "", 0, ""
        self.frames: list[dict[str, Any]] = []

    def open(self) -> Any:
        return connect(
            self.site.url.replace("http", "ws") + "/ws/chat/",
            origin=self.site.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": self.cookies},
        )

    async def read(self, socket: Any, *, until: str, enough: int = 10**9) -> dict[str, Any]:
        """Take frames until one of that type comes, or so many tokens are there."""
        while True:
            frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 90))
            self.frames.append(frame)
            if frame["type"] == "accepted" and not self.request:
                self.request = frame["messages"][-1]["request"]
            if frame["type"] == "delta" and frame["request"] == self.request:
                if frame["position"] + frame["count"] > self.tokens:
                    assert frame["position"] == self.tokens, "a token is missing"
                    self.text = self.text[: frame["offset"]] + frame["text"]
                    self.tokens += frame["count"]
                if self.tokens >= enough:
                    return frame
            if frame["type"] == "ended" and frame["request"] == self.request:
                self._take_whole(frame["message"])
            is_own = frame.get("request", self.request) == self.request
            if frame["type"] == until and (is_own or until == "accepted"):
                return frame

    def _take_whole(self, answer: dict[str, Any]) -> None:
        """An answer that ended while nobody looked comes as a whole, and begins as it did."""
        assert answer["text"].startswith(self.text)
        self.text, self.tokens = answer["text"], answer["position"]


def question(text: str, **more: Any) -> str:
    return asking("send", text=text, **more)


def stored(client: httpx.Client, conversation: str) -> dict[str, Any]:
    messages = client.get(f"/conversations/{conversation}/").json()["messages"]
    return next(m for m in messages if m["role"] == "assistant")


def ended(client: httpx.Client, conversation: str, *, within_s: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        answer = stored(client, conversation)
        if answer["state"] == "done":
            return answer
        time.sleep(0.2)
    raise AssertionError(f"not stored within {within_s} s: {stored(client, conversation)}")
