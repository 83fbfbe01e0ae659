"""Folds the events of a request into what is known of its answer.

One fold serves the checkpoint, the final store and the tests; the browser applies the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chatsite.generation.figures import AttemptTimeline
from inference.contract import TOKEN_RECORD_BYTES, Delta, Event, Progress, Result, Stamp, Started


@dataclass
class Transcript:
    """An answer so far. `text` says exactly `token_ids`, at every point between two events."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    records: dict[int, bytes] = field(default_factory=dict)  # TOKEN_RECORDs by position
    attempts: dict[int, AttemptTimeline] = field(default_factory=dict)
    result: Result | None = None

    def fold(self, events: Iterable[Event]) -> Transcript:
        for event in events:
            if self.result is not None:
                break  # the terminal entry is the truth; nothing comes after it
            match event:
                case Started():
                    timeline = self._attempt(event.attempt)
                    timeline.worker, timeline.started = event.worker, event.stamp
                case Progress(phase="prefill"):
                    timeline = self._attempt(event.attempt)
                    if timeline.admitted is None and timeline.started is not None:
                        timeline.admitted = timeline.started.at_mono(event.mono_ns)
                case Delta():
                    self._write(event)
                case Result():
                    self._end(event)
        return self

    def _attempt(self, number: int) -> AttemptTimeline:
        return self.attempts.setdefault(number, AttemptTimeline(number))

    def _write(self, delta: Delta) -> None:
        if delta.position != len(self.token_ids):
            return  # already known: a later attempt said it again
        if delta.records:
            size = TOKEN_RECORD_BYTES
            for place in range(len(delta.token_ids)):
                record = delta.records[place * size : (place + 1) * size]
                self.records[delta.position + place] = record
        self.token_ids.extend(delta.token_ids)
        self.text = self.text[: delta.text_offset] + delta.text
        timeline = self._attempt(delta.attempt)
        if timeline.started is not None:
            stamp = timeline.started.at_mono(delta.mono_ns)
            timeline.tokens.extend([stamp] * len(delta.token_ids))

    def _end(self, result: Result) -> None:
        self.result = result
        if result.text_tail:
            self.text = self.text[: result.text_offset] + result.text_tail
        if result.started is None and result.attempt not in self.attempts:
            return  # ended before any worker took it up
        timeline = self._attempt(result.attempt)
        timeline.worker = result.worker or timeline.worker
        timeline.started = timeline.started or result.started
        timeline.admitted = result.admitted or timeline.admitted
        origin: Stamp | None = result.first_token or timeline.started
        if origin is not None and result.token_mono_ns:
            timeline.tokens = [origin.at_mono(reading) for reading in result.token_mono_ns]

    @property
    def timelines(self) -> list[AttemptTimeline]:
        return [self.attempts[number] for number in sorted(self.attempts)]
