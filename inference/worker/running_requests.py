"""The requests that run in this process, each from its claim to its end here."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from inference.contract import GenerationRequest


@dataclass(slots=True)
class RunningRequest:
    """A request between its claim and its end in this process; its Celery task waits for `done`."""

    request: GenerationRequest
    done: threading.Event = field(default_factory=threading.Event)
    is_ours: bool = True  # its lease is renewed
    is_ended: bool = False  # its terminal entry was written here


class RunningRequests:
    """Thread-safe: tasks add, the publisher's thread closes, the heartbeat reads."""

    def __init__(self) -> None:
        self._by_id: dict[str, RunningRequest] = {}
        self._lock = threading.Lock()

    def add(self, request: GenerationRequest) -> RunningRequest:
        running = RunningRequest(request)
        with self._lock:
            self._by_id[request.request_id] = running
        return running

    def get(self, request_id: str) -> RunningRequest | None:
        with self._lock:
            return self._by_id.get(request_id)

    def requests(self) -> list[GenerationRequest]:
        with self._lock:
            return [running.request for running in self._by_id.values()]

    def leased(self) -> list[tuple[str, int]]:
        """(request id, attempt) of all that is still ours."""
        with self._lock:
            return [(id_, run.request.attempt) for id_, run in self._by_id.items() if run.is_ours]

    def disown(self, request_id: str) -> int | None:
        """Stop renewing a request's lease.

        Returns its attempt; None when this worker doesn't hold the lease, or no longer does.
        """
        with self._lock:
            running = self._by_id.get(request_id)
            if running is None or not running.is_ours:
                return None
            running.is_ours = False
            return running.request.attempt

    def close(self, request_id: str, attempt: int, *, is_ended: bool) -> None:
        """End the wait of this attempt's task. Another attempt of the same request stays."""
        with self._lock:
            running = self._by_id.get(request_id)
            if running is None or running.request.attempt != attempt:
                return
            del self._by_id[request_id]
        running.is_ended = is_ended
        running.done.set()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Until nothing runs here any more; False if something does after that time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self._lock:
                if not self._by_id:
                    return True
            time.sleep(0.01)
        return False
