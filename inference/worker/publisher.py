"""Writes what the engine says to Redis: one pipeline per step, off the engine's thread.

While Redis is away events wait here in order; the answer goes on being made. Knows no Celery task
but the name of the one that stores a finished answer.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from inference.contract import Event, Result
from inference.streams import ledger

log = logging.getLogger(__name__)

RETRY_S = 0.3
MAX_HELD = 200_000  # events held while Redis is away: over an hour of one answer


class Publisher:
    """A thread between the engine and Redis.

    `on_result` is told of each request whose terminal entry is written or was refused as too old.
    """

    def __init__(self, *, on_result: Callable[[Result, bool], None]) -> None:
        self._on_result = on_result
        self._steps: queue.SimpleQueue[list[Event] | None] = queue.SimpleQueue()
        self._models: dict[str, str] = {}
        self._held: list[Event] = []
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def expect(self, request_id: str, model: str) -> None:
        """Name the model of a request before its events come."""
        self._models[request_id] = model

    def put(self, events: list[Event]) -> None:
        """Take a step's events; called from the engine thread, returns at once."""
        self._steps.put(events)

    def stop(self, timeout_s: float) -> None:
        """Write what is left, then end."""
        self._steps.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._gather()
            while self._held:
                try:
                    refused = ledger.append(self._held, models=self._models)
                except ledger.RedisTrouble as error:
                    log.warning(
                        "Redis is away (%s); %d events wait", type(error).__name__, len(self._held)
                    )
                    time.sleep(RETRY_S)
                    if self._gather_now() or len(self._held) > MAX_HELD:
                        return
                else:
                    written, self._held = self._held, []
                    self._tell(written, refused)

    def _gather(self) -> bool:
        """Wait for a step, and take whatever more is there. True when told to stop."""
        step = self._steps.get()
        if step is None:
            return True
        self._held.extend(step)
        return self._gather_now()

    def _gather_now(self) -> bool:
        while True:
            try:
                step = self._steps.get_nowait()
            except queue.Empty:
                return False
            if step is None:
                return True
            self._held.extend(step)

    def _tell(self, written: list[Event], refused: list[Event]) -> None:
        for event in written:
            if isinstance(event, Result):
                self._models.pop(event.request_id, None)
                self._on_result(event, event not in refused)
