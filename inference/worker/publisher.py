"""Writes the engine's events to Redis: one pipeline per step, off the engine's thread.

While Redis is away, events are held here in order and the engine goes on. Tokens that Redis had
accepted and lost when it was killed are written again. What to do with a request that the engine
gave up is left to the listener.
"""

from __future__ import annotations

import collections
import logging
import queue
import threading
import time
from collections.abc import Iterable
from typing import Protocol

from inference.contract import HANDED_ON, Delta, Event, Result
from inference.queue import stream_writer
from inference.queue.connection import REDIS_ERRORS

log = logging.getLogger(__name__)

RETRY_S = 0.2
MAX_HELD = 100_000  # events held while Redis is away: a minute of 16 fast answers
KEPT_TOKENS = 2048  # per answer, to be written again; more than Redis loses in its second


class Listener(Protocol):
    """Learns what became of requests; called from the publisher's thread."""

    def on_ended(self, result: Result, *, is_written: bool) -> None:
        """The terminal entry is written, or the attempt was over already."""

    def on_unfinished(self, result: Result) -> None:
        """The engine gave a request up before its end. May raise redis errors; it is called again
        then.
        """

    def on_not_ours(self, request_id: str) -> None:
        """This attempt is over: another worker has the request, or nobody any more."""


class Publisher:
    """A thread between the engine and Redis."""

    def __init__(self, listener: Listener, *, max_held: int = MAX_HELD) -> None:
        self._listener = listener
        self._max_held = max_held
        self._steps: queue.SimpleQueue[list[Event] | None] = queue.SimpleQueue()
        self._models: dict[str, str] = {}
        self._held: list[Event] = []
        self._recent: dict[str, collections.deque[Delta]] = {}
        self._abandoned: set[tuple[str, int]] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def expect(self, request_id: str, model: str) -> None:
        """Name the model of a request before its events come."""
        self._models[request_id] = model

    def put(self, events: list[Event]) -> None:
        """Take a step's events; called from the engine thread, returns at once."""
        self._steps.put(events)

    def stop(self, timeout_s: float) -> None:
        """Write what is left, unless Redis is away, then end."""
        self._steps.put(None)
        self._thread.join(timeout_s)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._collect(self._steps.get())
            while self._held:
                try:
                    self._write()
                except REDIS_ERRORS as error:
                    log.warning("%s; %d events wait", error, len(self._held))
                    if self._stopping:
                        return
                    time.sleep(RETRY_S)
                self._collect([])

    def _collect(self, step: list[Event] | None) -> None:
        """Take a step in, and whatever more is there."""
        while True:
            if step is None:
                self._stopping = True
            else:
                self._hold(step)
            try:
                step = self._steps.get_nowait()
            except queue.Empty:
                break
        if len(self._held) > self._max_held:
            log.error("Redis is away for too long; the answers that run are given up")
            for key in {(event.request_id, event.attempt) for event in self._held}:
                self._abandon(*key)

    def _hold(self, step: Iterable[Event]) -> None:
        for event in step:
            if (event.request_id, event.attempt) in self._abandoned:
                if isinstance(event, Result):
                    self._abandoned.discard((event.request_id, event.attempt))
                    self._end(event, is_written=False)
                continue
            self._held.append(event)
            if isinstance(event, Delta):
                recent = self._recent.get(event.request_id)
                if recent is None:
                    recent = self._recent[event.request_id] = collections.deque(maxlen=KEPT_TOKENS)
                recent.append(event)

    def _write(self) -> None:
        """Write what is held. Whatever fails half-way is simply written again."""
        given_up = [event for event in self._held if _is_unfinished(event)]
        events = [event for event in self._held if not _is_unfinished(event)]
        outcomes = stream_writer.append(events, models=self._models)
        self._held = list(given_up)
        gaps: dict[tuple[str, int], int] = {}
        ends: list[Event] = []
        for event, outcome in zip(events, outcomes, strict=True):
            if isinstance(outcome, stream_writer.Gap):
                gaps.setdefault((event.request_id, event.attempt), outcome.position)
                if isinstance(event, Result):
                    ends.append(event)
            elif isinstance(event, Result):
                self._end(event, is_written=outcome == "written")
            elif outcome == "refused":
                self._listener.on_not_ours(event.request_id)
        for (request_id, attempt), position in gaps.items():
            self._write_again(request_id, attempt, position)
        self._held.extend(
            end for end in ends if (end.request_id, end.attempt) not in self._abandoned
        )
        for result in given_up:
            assert isinstance(result, Result)
            self._listener.on_unfinished(result)
            self._held.remove(result)
            self._forget(result.request_id)

    def _write_again(self, request_id: str, attempt: int, position: int) -> None:
        """Redis has forgotten tokens from `position` on: put them before what comes."""
        missing = [d for d in self._recent.get(request_id, ()) if d.position >= position]
        if missing and missing[0].position == position:
            log.warning("request %s: %d tokens are written again", request_id[:8], len(missing))
            self._held.extend(missing)
        else:
            log.error("request %s: tokens from %d on are gone", request_id[:8], position)
            self._abandon(request_id, attempt)

    def _abandon(self, request_id: str, attempt: int) -> None:
        """Write no more of this attempt; its lease runs out and another worker goes on."""
        self._abandoned.add((request_id, attempt))
        held, self._held = self._held, []
        self._hold(held)
        self._listener.on_not_ours(request_id)

    def _end(self, result: Result, *, is_written: bool) -> None:
        self._forget(result.request_id)
        self._listener.on_ended(result, is_written=is_written)

    def _forget(self, request_id: str) -> None:
        self._models.pop(request_id, None)
        self._recent.pop(request_id, None)


def _is_unfinished(event: Event) -> bool:
    return isinstance(event, Result) and event.error_code in HANDED_ON
