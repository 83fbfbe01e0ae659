"""Tells what the engine does in a thread of its own, so that no step waits for text.

While a step runs, the interpreter is free: this thread makes the text of the step before and hands
the events on. Stop strings are thus found one step late; answers.py drops the surplus token.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from inference.contract import Event
from inference.engine.output import Record

log = logging.getLogger(__name__)

Tell = Callable[[list[Record]], list[Event]]

MOST_BEHIND = 4
"""Batches of records that may wait: an engine that outran its words would overshoot every stop."""
LET_TELL_S = 0.0002


class Teller:
    """A thread between the engine's and its listener. `emit` gets the events of a step at once."""

    def __init__(self, emit: Callable[[list[Event]], None]) -> None:
        self._emit = emit
        self._batches: queue.SimpleQueue[tuple[Tell, list[Record]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine-teller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, tell: Tell, records: list[Record]) -> None:
        """Have `tell` make events of these records, and hand them on. In order, soon."""
        self._batches.put((tell, records))
        while self._batches.qsize() > MOST_BEHIND and self._thread.is_alive():
            time.sleep(LET_TELL_S)

    def close(self) -> None:
        """Tell what is left, then end."""
        self._batches.put(None)
        self._thread.join()

    def hand_on(self, events: list[Event]) -> None:
        """Give events to the listener now. Its error is logged, and is not ours."""
        try:
            self._emit(events)
        except Exception:
            log.exception("the listener of the engine's events failed")

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            tell, records = batch
            try:
                events = tell(records)
            except Exception:  # other answers' words must still come
                log.exception("a step could not be told")
                continue
            if events:
                self.hand_on(events)
