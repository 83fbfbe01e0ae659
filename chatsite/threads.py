"""Runs blocking work (database, Redis, counting tokens) in threads, off the event loop.

The chat's sockets use asyncio's own threads. API traffic has a pool of its own, so that many long
prompts of programs don't hold up what people do.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
R = TypeVar("R")

API_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="api")


def in_thread(
    function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> Coroutine[Any, Any, R]:
    """Call `function` in one of asyncio's threads; its database connections are looked after."""
    return in_pool(None, function, *args, **kwargs)


async def in_pool(
    pool: Executor | None, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """The same in a thread of `pool`; None is asyncio's own.

    Not thread-sensitive: one slow call (counting a long prompt) must not hold up all others.
    """
    run = database_sync_to_async(function, thread_sensitive=False, executor=pool)
    result: R = await run(*args, **kwargs)
    return result
