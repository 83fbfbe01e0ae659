"""The queue of inspections: one job at a time, a piece of it between two steps of the engine.

What a piece does is inspector.py's part.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from concurrent.futures import Executor, Future

from inference.engine.inspection.inspector import InspectionJob, Inspector

MAX_INSPECTIONS = 8
"""How many may wait; further ones are refused."""


class InspectionQueue:
    """Called from the engine thread. Making the inspector may load a second instance of the model:
    that happens in `background`, when the first job comes, and `wake` is called when it is there.
    """

    def __init__(
        self, make: Callable[[], Inspector], *, background: Executor, wake: Callable[[], object]
    ) -> None:
        self._make = make
        self._background = background
        self._wake = wake
        self._jobs: collections.deque[InspectionJob] = collections.deque()
        self._inspector: Future[Inspector] | None = None

    def add(self, job: InspectionJob) -> None:
        """Put an inspection in the queue; its future gets the result, or ValueError."""
        if not job.future.set_running_or_notify_cancel():
            return
        if len(self._jobs) >= MAX_INSPECTIONS:
            refused = f"{MAX_INSPECTIONS} inspections are waiting already."
            job.future.set_exception(ValueError(refused))
            return
        self._jobs.append(job)
        if self._inspector is None:
            self._inspector = self._background.submit(self._make)
            self._inspector.add_done_callback(lambda _: self._wake())

    def advance(self, *, max_tokens: int) -> bool:
        """Advance the job under way by one piece. False if there is nothing to do."""
        if not self._jobs or self._inspector is None or not self._inspector.done():
            return False
        job = self._jobs[0]
        try:
            is_done = self._inspector.result().advance(job, max_tokens=max_tokens)
        except Exception as error:  # no inspector could be made: the future carries the reason
            job.future.set_exception(error)
            is_done = True
        if is_done:
            self._jobs.popleft()
        return True

    def close(self, text: str) -> None:
        """End the jobs that wait; their futures raise RuntimeError with this text."""
        for job in self._jobs:
            job.future.set_exception(RuntimeError(text))
        self._jobs.clear()
