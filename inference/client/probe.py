"""Whether Redis takes writes: a full disk or memory leaves it readable alone."""

from __future__ import annotations

from inference.client.exceptions import names_redis_errors
from inference.queue import keys
from inference.queue.connection import connect

KEPT_S = 10


@names_redis_errors
def write_probe() -> None:
    """Write one key that is gone soon. Raises RedisUnavailable."""
    connect().set(keys.probe(), 1, ex=KEPT_S)
