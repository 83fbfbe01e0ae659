"""Database work of asynchronous code, in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run it in a thread of its own, so that one slow call holds up no other."""
    result: R = await database_sync_to_async(function, thread_sensitive=False)(*args, **kwargs)
    return result
