"""The chat's socket inside the test's own process, as a browser opens it."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from chatsite.accounts.models import User
from chatsite.asgi import application
from chatsite.notifier import group_of
from inference.queue.connection import connect
from tests.support.frames import asking

ORIGIN = (b"origin", b"http://localhost")
HOST = (b"host", b"localhost")

opened: list[WebsocketCommunicator] = []
"""Those that the running test has opened; its fixture ends them."""


async def open_socket(
    user: User | None, *, origin: tuple[bytes, bytes] | None = ORIGIN, language: str = ""
) -> Any:
    """A connected socket of this person's, or None when it was refused.

    `language` is what the browser asks for in Accept-Language.
    """
    headers = [HOST] + ([origin] if origin else [])
    if language:
        headers.append((b"accept-language", language.encode()))
    if user is not None:
        client = Client()
        await sync_to_async(client.force_login)(user)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
    socket = WebsocketCommunicator(application, "/ws/chat/", headers=headers)
    opened.append(socket)
    connected, _ = await socket.connect()
    return socket if connected else None


async def frame_of(socket: Any, kind: str) -> dict[str, Any]:
    """The next frame of this kind; others before it are passed over."""
    for _ in range(20):
        frame = json.loads(await socket.receive_from(timeout=5))
        if frame["type"] == kind:
            return frame
    raise AssertionError(f"no {kind} frame came")


async def join_group(user: User) -> None:
    """Wait until a socket of this person's is told of changes: it joins behind its welcome."""
    channel = f"asgi__group__{group_of(user.pk)}"  # as channels_redis names it
    async with asyncio.timeout(5):
        while not connect().pubsub_numsub(channel)[0][1]:
            await asyncio.sleep(0.01)


async def all_joined(user: User, *sockets: Any) -> None:
    """Wait until each of these sockets is told of changes, by telling of one that is none."""
    change = {"type": "conversation.changed", "conversation": str(uuid.uuid4()), "deleted": True}
    async with asyncio.timeout(10):
        for socket in sockets:
            frame = {"type": ""}
            while frame["type"] != "changed":
                await get_channel_layer().group_send(group_of(user.pk), change)
                if not await socket.receive_nothing(timeout=0.2):
                    frame = json.loads(await socket.receive_from())


def sent(text: str, **fields: Any) -> str:
    """A `send` frame."""
    return asking("send", text=text, **fields)
