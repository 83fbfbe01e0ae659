"""Where the API's blocking work runs: a few threads for all requests, none kept by a stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
T = TypeVar("T")

POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="api")


def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
    """Run a function that asks the database or Redis; its connection is looked after."""
    run = database_sync_to_async(function, thread_sensitive=False, executor=POOL)
    return run(*args, **kwargs)  # type: ignore[no-any-return]
