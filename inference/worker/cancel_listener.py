"""Listens for orders to this worker: cancel a request. One blocking connection of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import redis

from inference.queue import keys
from inference.queue.connection import CONNECT_S, settings
from inference.queue.ledger import RedisTrouble
from inference.worker.runtime import Slot

log = logging.getLogger(__name__)

WAIT_S = 2
RETRY_S = 0.3


class Orders:
    """A thread that carries out orders as they come. Lost ones show at the next heartbeat."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._stopped = threading.Event()
        self._redis: Any = redis.Redis.from_url(
            settings().redis_url,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=WAIT_S + 5,  # above the wait, or a quiet time is an error
            retry=None,
            protocol=2,
        )
        self._thread = threading.Thread(target=self._run, name="orders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        name = keys.orders(self._slot.worker)
        while not self._stopped.is_set():
            try:
                order = self._redis.blpop([name], timeout=WAIT_S)
            except RedisTrouble:
                time.sleep(RETRY_S)
                continue
            if order is not None:
                verb, _, request_id = order[1].decode().partition(" ")
                if verb == "cancel":
                    self._slot.cancel(request_id)
                else:
                    log.warning("an order of an unknown kind: %s", verb[:20])
