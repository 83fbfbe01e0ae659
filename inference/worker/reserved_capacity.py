"""Keeps an eighth of a worker's places for people who chat: API traffic gets no more than the rest.

Counts who holds a place for API traffic; a place is a thread of Celery's pool. Doesn't know what
runs in it (runtime.py), nor how the worker leaves the queue of API traffic while it may take none
(celery_consumer.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class ReservedCapacity:
    """Thread-safe. `on_change` is called when API traffic may take a place again, or no more."""

    def __init__(self, places: int, *, on_change: Callable[[], None] = lambda: None) -> None:
        self._api_places = max(1, places - places // 8)
        self._holders: set[str] = set()
        self._lock = threading.Lock()
        self._on_change = on_change

    @property
    def is_api_full(self) -> bool:
        return len(self._holders) >= self._api_places

    def take_api_place(self, holder: str) -> bool:
        """Whether `holder`, a task's id, has a place for API traffic now. Asking again is free."""
        with self._lock:
            if holder in self._holders:
                return True
            if self.is_api_full:
                return False
            self._holders.add(holder)
            is_full_now = self.is_api_full
        if is_full_now:
            self._on_change()
        return True

    def release_api_place(self, holder: str) -> None:
        """Give the place of `holder` back. Does nothing for one that has none."""
        with self._lock:
            was_full = self.is_api_full
            self._holders.discard(holder)
            is_open_again = was_full and not self.is_api_full
        if is_open_again:
            self._on_change()
