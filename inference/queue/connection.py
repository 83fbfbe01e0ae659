"""Settings of the queue in Redis, and this process's connection to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis

from inference import env
from inference.contract import Source

CONNECT_S = 1.0
ANSWER_S = 2.0
SCHEMES = ("redis", "rediss", "unix")
REDIS_ERRORS = (redis.RedisError, OSError)
"""What a call may raise when Redis is away, hangs or refuses."""
LOOK_EVERY_S = 1.0
"""How often the site's periodic task looks at the requests that wait or run."""
RECOVERY_MARGIN_S = 1.0
"""Slack for the periodic looks and for the clock that starts them, on a busy machine."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """`prefix` keeps several sites apart in one Redis. Times in seconds."""

    redis_url: str = "redis://127.0.0.1:6379/0"  # REDIS_URL; unix:///path?db=0 for a socket
    prefix: str = "chatsite"  # CHATSITE_REDIS_PREFIX
    max_waiting: int = 512  # CHATSITE_MAX_WAITING, per model; one more is refused: queue_full
    lease_s: float = 4.0  # CHATSITE_LEASE_S: a running request nobody renews for so long is lost
    recover_within_s: float = 10.0  # CHATSITE_RECOVER_WITHIN_S: from loss to going on, or its end
    max_losses: int = 2  # CHATSITE_MAX_LOSSES: losing its worker once more ends a request
    stream_s: int = 86_400  # a stream nobody stored is kept this long
    forget_s: int = 60  # a stored one this long, for readers in flight

    def max_waiting_of(self, source: Source) -> int:
        """API traffic leaves an eighth of each model's queue to people who chat."""
        share = self.max_waiting - max(1, self.max_waiting // 8)
        return self.max_waiting if source == "chat" else max(1, share)

    @property
    def recovery_wait_s(self) -> float:
        """How long a lost request waits for another worker: what noticing and ending leave.

        From the kill to the end when no worker comes, at the longest and with the defaults:
        4 s until its lease runs out (renewed just before), 1 s until a look notices, 3 s to wait,
        1 s until a look ends it and stores it at once: 9 s, and 1 s in hand for the promised 10.
        """
        noticing_s, ending_s = self.lease_s + LOOK_EVERY_S, LOOK_EVERY_S
        left_s = self.recover_within_s - noticing_s - ending_s - RECOVERY_MARGIN_S
        return max(1.0, left_s)

    @classmethod
    def from_env(cls) -> QueueSettings:
        """Raises InvalidVariable, a ValueError."""
        url = env.text("REDIS_URL", cls().redis_url)
        if urlsplit(url).scheme not in SCHEMES:
            named = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise env.InvalidVariable(f"REDIS_URL must begin with one of {named}, not {url!r}.")
        default = cls()
        return cls(
            redis_url=url,
            prefix=env.text("CHATSITE_REDIS_PREFIX", default.prefix),
            max_waiting=env.whole_number("CHATSITE_MAX_WAITING", default.max_waiting, low=1),
            lease_s=env.number("CHATSITE_LEASE_S", default.lease_s, low=1.0),
            recover_within_s=env.number(
                "CHATSITE_RECOVER_WITHIN_S", default.recover_within_s, low=1.0
            ),
            max_losses=env.whole_number("CHATSITE_MAX_LOSSES", default.max_losses, low=0),
        )


@cache
def settings() -> QueueSettings:
    return QueueSettings.from_env()


def connection_options() -> dict[str, Any]:
    """For every client: fail fast instead of redis-py's retries with back-off, answers as bytes."""
    return {"socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S, "retry": None}


@cache
def connect() -> Any:
    """This process's redis.Redis for short calls. Thread-safe; connects when first used.

    Any, because redis-py's types leave open whether an answer is bytes or text.
    """
    return redis.Redis.from_url(
        settings().redis_url, max_connections=200, protocol=2, **connection_options()
    )


def broker_url(url: str | None = None) -> str:
    """The same Redis as Celery's transport names it: unix sockets have another scheme there."""
    url = url or settings().redis_url
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"
