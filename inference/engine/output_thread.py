"""The thread that makes text and events of the engine's steps while the next step runs.

So no step waits for text. What an event says is decided in output.py.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from inference.contract import Event
from inference.engine.output import OutputProcessor, Record

log = logging.getLogger(__name__)

MAX_BACKLOG = 4
"""Steps whose records may wait for their text. With each one more, an answer runs on for one more
step behind its stop string."""
BACKLOG_WAIT_S = 0.0002


class OutputThread:
    """Processes records in order and emits their events.

    `emit`, the engine's listener, gets all events of a step at once.
    """

    def __init__(self, emit: Callable[[list[Event]], None]) -> None:
        self._emit = emit
        self._batches: queue.SimpleQueue[tuple[OutputProcessor, list[Record]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="engine-output", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, processor: OutputProcessor, records: list[Record]) -> None:
        """Have these records processed and their events emitted, in order, soon.

        Waits while MAX_BACKLOG batches are not processed yet.
        """
        self._batches.put((processor, records))
        while self._batches.qsize() > MAX_BACKLOG and self._thread.is_alive():
            time.sleep(BACKLOG_WAIT_S)

    def close(self) -> None:
        """Process what is left, then end the thread."""
        self._batches.put(None)
        self._thread.join()

    def emit(self, events: list[Event]) -> None:
        """Give events to the listener now, in the caller's thread. The listener's error is logged
        and doesn't reach the engine.
        """
        try:
            self._emit(events)
        except Exception:
            log.exception("the listener of the engine's events failed")

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            processor, records = batch
            try:
                events = processor.process(records)
            except Exception:  # the events of other answers must still come
                log.exception("the records of a step could not be processed")
                continue
            if events:
                self.emit(events)
