"""What can go wrong between site and workers, each with a code for programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from kombu.exceptions import KombuError

from inference.streams.ledger import RedisTrouble

P = ParamSpec("P")
R = TypeVar("R")


class ClientError(Exception):
    """`code` for programs, the text for people."""

    code = "inference_failed"


class RedisUnavailable(ClientError):
    code = "redis_unavailable"


class QueueFull(ClientError):
    code = "queue_full"


class NoSuchRequest(ClientError):
    code = "no_such_request"


class ModelUnknown(ClientError):
    code = "model_unknown"


class WorkerSilent(ClientError):
    code = "worker_silent"


def redis_named(function: Callable[P, R]) -> Callable[P, R]:
    """Whatever a broken connection raises becomes RedisUnavailable."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (*RedisTrouble, KombuError) as error:
            raise RedisUnavailable(f"Redis can't be reached: {type(error).__name__}") from error

    return wrapped
