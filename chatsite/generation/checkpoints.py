"""Copies of running answers in the database, so that a lost Redis costs seconds of them.

Each stream is read on from where the last checkpoint ended, not from its beginning.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from chatsite.generation import token_trace
from chatsite.generation.answers import answers_of, kept_sources
from chatsite.generation.models import Generation
from chatsite.generation.store import opened_transcript
from chatsite.generation.transcript import Transcript
from inference import client

CHECKPOINT_EVERY_S = 5.0


@dataclass
class _Progress:
    """How far an answer's stream has been read."""

    transcript: Transcript
    last_entry: str = ""
    saved_tokens: int = -1


class Checkpoints:
    """What this process has read of the answers that run. Thread-safe."""

    def __init__(self, *, every_s: float = CHECKPOINT_EVERY_S) -> None:
        self._every_s = every_s
        self._progress: dict[UUID, _Progress] = {}
        self._lock = threading.Lock()
        self._saved_at = float("-inf")

    def save_running(self, running: Collection[UUID]) -> None:
        """Save every kept answer among `running`, if the last time is `every_s` ago."""
        if time.monotonic() - self._saved_at < self._every_s:
            return
        self._saved_at = time.monotonic()
        with self._lock:
            for request_id in self._progress.keys() - set(running):
                del self._progress[request_id]
        kept = Generation.objects.filter(request_id__in=running, source__in=kept_sources())
        for request_id in kept.values_list("request_id", flat=True):
            self.save(request_id)

    def save(self, request_id: UUID) -> None:
        """Save what the stream has of this answer now."""
        generation = Generation.objects.filter(request_id=request_id).first()
        if generation is None or generation.is_terminal:
            return
        with self._lock:
            progress = self._progress.get(request_id)
            if progress is None:
                progress = self._progress[request_id] = _Progress(opened_transcript(generation))
            events, progress.last_entry = client.read_after(request_id.hex, progress.last_entry)
            transcript = progress.transcript.fold(events)
            tokens = len(transcript.token_ids)
            if transcript.result is not None or not transcript.attempts:
                return
            if tokens != progress.saved_tokens:
                answers_of(generation.source).checkpoint(request_id, transcript)
                token_trace.save(generation, transcript, level=1)
                progress.saved_tokens = tokens
