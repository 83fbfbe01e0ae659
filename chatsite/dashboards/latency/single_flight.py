"""One computation for all who ask for the same at the same time, and a little later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Generic, TypeVar

from django.core.cache import cache

T = TypeVar("T")

WAIT_S = 30
"""Longer than a computation takes; who has waited so long computes for themselves."""


class SingleFlight(Generic[T]):
    """Computes a value once per key; concurrent callers wait for the one who computes.

    A result is kept in Django's cache for `fresh_s`. The first caller computes in its own thread,
    which is a request's and never the event loop's.
    """

    def __init__(self, *, fresh_s: float) -> None:
        self.fresh_s = fresh_s
        self._running: dict[str, Future[T]] = {}
        self._lock = threading.Lock()

    def get(self, key: str, compute: Callable[[], T]) -> T:
        """The value of `compute` for this key. Its exception is raised in every waiting caller."""
        with self._lock:
            kept: T | None = cache.get(key)
            if kept is not None:
                return kept
            running = self._running.get(key)
            if running is None:
                mine = self._running[key] = Future()
        if running is not None:
            try:
                return running.result(WAIT_S)
            except WaitedTooLong:
                return compute()
        try:
            result = compute()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            cache.set(key, result, self.fresh_s)
            mine.set_result(result)
            return result
        finally:
            with self._lock:
                del self._running[key]
