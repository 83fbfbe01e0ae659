"""Reads environment variables. A value that can't be used is refused, naming variable and value.

An empty variable counts as one that isn't set. Knows no variable's name or default: those stand
with whoever uses them (queue/connection.py, worker/worker_config.py, chatsite/settings.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")


class InvalidVariable(ValueError):
    """An environment variable holds a value that can't be used; the message is for people."""


def text(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def whole_number(name: str, default: int, *, low: int) -> int:
    """A whole number from `low` on. Raises InvalidVariable."""
    value = text(name)
    if not value:
        return default
    if not (value.isascii() and value.isdecimal()) or int(value) < low:
        raise InvalidVariable(f"{name} must be a whole number from {low} on, not {value!r}.")
    return int(value)


def number(name: str, default: float, *, low: float) -> float:
    """A finite number from `low` on. Raises InvalidVariable."""
    value = text(name)
    if not value:
        return default
    try:
        parsed = float(value)
    except ValueError:
        parsed = float("nan")
    if not low <= parsed < float("inf"):
        raise InvalidVariable(f"{name} must be a number from {low:g} on, not {value!r}.")
    return parsed


def boolean(name: str, default: bool) -> bool:
    """1 or 0, or a word for it. Raises InvalidVariable."""
    value = text(name)
    if not value:
        return default
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise InvalidVariable(f"{name} must be 1 or 0, not {value!r}.")


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    """One of `allowed`. Raises InvalidVariable."""
    value = text(name) or default
    if value not in allowed:
        raise InvalidVariable(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def words(name: str, default: Sequence[str]) -> list[str]:
    """A list with commas between its items."""
    value = text(name)
    return [item.strip() for item in value.split(",") if item.strip()] if value else list(default)
