"""Where Redis is and how long things live in it, from environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis

CONNECT_S = 1.0
ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """`prefix` keeps several sites apart in one Redis. Times in seconds."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    prefix: str = "chatsite"
    max_waiting: int = 512  # per model; one more is refused with queue_full
    lease_s: float = 4.0  # a running request whose worker is silent for this long is lost
    max_attempts: int = 3
    stream_s: int = 86_400  # a stream nobody stored is kept this long
    forget_s: int = 60  # a stored one this long, for readers in flight

    @classmethod
    def from_env(cls) -> StreamSettings:
        return cls(
            redis_url=os.environ.get("REDIS_URL") or cls().redis_url,
            prefix=os.environ.get("CHATSITE_REDIS_PREFIX") or cls().prefix,
            max_waiting=_whole("CHATSITE_MAX_WAITING", cls().max_waiting, low=1),
        )


def _whole(name: str, default: int, *, low: int) -> int:
    value = os.environ.get(name)
    if not value:
        return default
    if not value.isdecimal() or int(value) < low:
        raise ValueError(f"{name} must be a whole number from {low} on, not {value!r}.")
    return int(value)


@cache
def settings() -> StreamSettings:
    return StreamSettings.from_env()


def connection_options() -> dict[str, Any]:
    """For every client: fail fast instead of redis-py's ten retries, answers as bytes."""
    return {"socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S, "retry": None}


@cache
def connect() -> redis.Redis:
    """This process's client for short calls. Thread-safe; connects when first used."""
    return redis.Redis.from_url(settings().redis_url, max_connections=200, **connection_options())


def broker_url(url: str | None = None) -> str:
    """The same Redis as Celery's transport names it: unix sockets have another scheme there."""
    url = url or settings().redis_url
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"
