"""One line per component when Redis goes away, instead of a traceback a second from each.

A filter for log handlers. What tells of a lost Redis is known by the exception that it carries, as
`exc_info` or as an argument; the next such record of the same logger is left out unless it comes
after a while of silence, which makes it another outage.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import redis
from kombu.exceptions import OperationalError

AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    OperationalError,
    ConnectionError,
)
SILENCE_S = 20.0


class OneLinePerOutage(logging.Filter):
    """Lets the first record of an outage through as one line, and drops those that follow."""

    def __init__(self) -> None:
        super().__init__()
        self._seen_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        error = _cause_of(record)
        if error is None:
            return True
        now = time.monotonic()
        is_new = now - self._seen_at.get(record.name, float("-inf")) > SILENCE_S
        self._seen_at[record.name] = now
        if is_new:
            said = record.getMessage().strip().split("\n")[0][:200]
            record.msg, record.args = "Redis is away (%s): %s", (type(error).__name__, said)
            record.exc_info = record.exc_text = record.stack_info = None
        return is_new


def install(logger: logging.Logger, **_: Any) -> None:
    """Put the filter on a logger's handlers; a receiver of Celery's after_setup_logger."""
    for handler in logger.handlers:
        handler.addFilter(OneLinePerOutage())


def _cause_of(record: logging.LogRecord) -> BaseException | None:
    """The exception that says that Redis is away; None when the record tells of something else."""
    found: list[Any] = [record.exc_info[1]] if record.exc_info else []
    if isinstance(record.args, tuple):
        found.extend(record.args)
    for error in found:
        while isinstance(error, BaseException):
            if isinstance(error, AWAY) or "MISCONF" in str(error):
                return error
            error = error.__cause__ or error.__context__
    return None
