"""The line of those who want to look inside: one job at a time, a piece between two steps.

What a piece does is inspection.py's matter.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from concurrent.futures import Executor, Future

from inference.engine.inspection.inspector import InspectJob, Inspector

MAX_INSPECTIONS = 8
"""How many may wait; further ones are refused."""


class Inspections:
    """Called from the engine thread. Making the inspector may load a second instance of the model:
    that happens in `background`, when the first job comes, and `wake` is called when it is there.
    """

    def __init__(
        self, make: Callable[[], Inspector], *, background: Executor, wake: Callable[[], object]
    ) -> None:
        self._make = make
        self._background = background
        self._wake = wake
        self._jobs: collections.deque[InspectJob] = collections.deque()
        self._inspector: Future[Inspector] | None = None

    def add(self, job: InspectJob) -> None:
        """Put an inspection in line; its future gets the result, or ValueError."""
        if not job.future.set_running_or_notify_cancel():
            return
        if len(self._jobs) >= MAX_INSPECTIONS:
            line = f"{MAX_INSPECTIONS} inspections are waiting already."
            job.future.set_exception(ValueError(line))
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
        except Exception as error:  # whatever it was, the future carries it
            job.future.set_exception(error)
            is_done = True
        if is_done:
            self._jobs.popleft()
        return True

    def close(self, text: str) -> None:
        """No job that waits will be done; its future says why."""
        for job in self._jobs:
            job.future.set_exception(RuntimeError(text))
        self._jobs.clear()
