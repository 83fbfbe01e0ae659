"""Sends wake-ups to open pages from any thread, without waiting.

One thread with an event loop of its own does the sending. `async_to_sync` would wait for the
caller's loop instead, which may just be ending the socket that the caller works for.

The channel layer may lose a message, or be away: pages also learn everything by asking again, so a
failure is logged and forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import cache
from typing import Any

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)


def send_to_person(user_id: int, kind: str, **content: Any) -> None:
    """Send to every open socket of that person. `kind` names the consumer's method."""
    message = {"type": kind, **content}
    asyncio.run_coroutine_threadsafe(_send(group_of(user_id), message), _loop())


def group_of(user_id: int) -> str:
    """The channel layer's group of all that person's sockets."""
    return f"user.{user_id}"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="notifier", daemon=True).start()
    return loop


async def _send(group: str, message: dict[str, Any]) -> None:
    try:
        await get_channel_layer().group_send(group, message)
    except Exception as error:  # whatever a broken connection raises: the pages ask again
        logger.warning("could not notify %s: %s", message["type"], type(error).__name__)
