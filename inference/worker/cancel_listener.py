"""Listens for cancellations of this worker's requests, on a blocking connection of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

import redis

from inference.queue import keys
from inference.queue.connection import CONNECT_S, REDIS_ERRORS, settings
from inference.worker.runtime import WorkerRuntime

WAIT_S = 2
RETRY_S = 0.3


class CancelListener:
    """A thread that cancels as it is asked to. What gets lost shows at the next heartbeat."""

    def __init__(self, runtime: WorkerRuntime) -> None:
        self._runtime = runtime
        self._stopped = threading.Event()
        self._redis: Any = redis.Redis.from_url(
            settings().redis_url,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=WAIT_S + 5,  # above the wait, or a quiet time is an error
            retry=None,
            protocol=2,
        )
        self._thread = threading.Thread(target=self._listen, name="cancel listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _listen(self) -> None:
        name = keys.cancellations(self._runtime.worker)
        while not self._stopped.is_set():
            try:
                popped = self._redis.blpop([name], timeout=WAIT_S)
            except REDIS_ERRORS:
                time.sleep(RETRY_S)
                continue
            if popped is not None:
                self._runtime.cancel(popped[1].decode())
