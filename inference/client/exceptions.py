"""What can go wrong between site and workers, each with its ErrorCode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from kombu.exceptions import KombuError

from inference.contract import ErrorCode
from inference.queue.connection import REDIS_ERRORS

P = ParamSpec("P")
R = TypeVar("R")


class ClientError(Exception):
    """`code` for programs, the text for people."""

    code: ErrorCode = ErrorCode.TEMPLATE_FAILED


class RedisUnavailable(ClientError):
    code = ErrorCode.QUEUE_UNAVAILABLE


class QueueFull(ClientError):
    code = ErrorCode.QUEUE_FULL


class NoSuchRequest(ClientError):
    code = ErrorCode.NO_SUCH_REQUEST


class ModelUnknown(ClientError):
    code = ErrorCode.MODEL_UNKNOWN


class WorkerSilent(ClientError):
    code = ErrorCode.WORKER_SILENT


def names_redis_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that whatever a broken connection raises is RedisUnavailable."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (*REDIS_ERRORS, KombuError) as error:
            raise RedisUnavailable(f"Redis can't be reached: {type(error).__name__}") from error

    return wrapped
