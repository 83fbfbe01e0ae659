"""Reads environment variables. A value that can't be used is refused, naming variable and value.

An empty variable counts as one that isn't set. Defaults stand with whoever uses a variable
(queue/connection.py, worker/worker_config.py, chatsite/settings.py); docs/configuration.md has the
meaning of each of VARIABLES.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

VARIABLES = frozenset(
    {
        "ALLOWED_HOSTS", "API_CORS_ORIGINS", "API_HEARTBEAT_S", "API_MAX_BODY_BYTES",
        "API_MAX_UNFINISHED", "BEHIND_TLS", "CHATSITE_BACKEND", "CHATSITE_DATA", "CHATSITE_DEVICE",
        "CHATSITE_DTYPE", "CHATSITE_ISA", "CHATSITE_KERNELS", "CHATSITE_KERNEL_FLAGS",
        "CHATSITE_LEASE_S", "CHATSITE_MAX_LOSSES", "CHATSITE_MAX_RUNNING", "CHATSITE_MAX_WAITING",
        "CHATSITE_MODEL", "CHATSITE_MODELS", "CHATSITE_MODEL_FOLDERS",
        "CHATSITE_PACKED_WEIGHTS", "CHATSITE_RECOVER_WITHIN_S",
        "CHATSITE_REDIS_PREFIX", "CHATSITE_STALL_S", "CHATSITE_STANDBY", "CHATSITE_STATIC",
        "CHATSITE_TENSOR_PARALLEL", "CHATSITE_THREADS", "CSRF_TRUSTED_ORIGINS", "CXX",
        "DATABASE_URL", "DEBUG", "HOST", "HSTS_INCLUDE_SUBDOMAINS", "HSTS_SECONDS",
        "INVITATION_HOURS", "LOG_LEVEL", "MAX_BODY_S", "MAX_CONCURRENT_ANSWERS", "MAX_UNREAD_S",
        "MIN_FREE_MB", "PORT", "PUBLIC_URL", "REDIS_URL", "RESUME_INTERRUPTED",
        "SAVE_TOKEN_TRACES", "SECRET_KEY", "SIGN_IN_TRIES",
        "SIGN_IN_TRIES_PER_ADDRESS", "SIGN_IN_TRIES_PER_NAME", "SIGN_UP",
        "TRUSTED_PROXIES", "UNDO_MINUTES",
    }
)  # fmt: skip
"""Every variable that may be read here, and so everything there is to set."""

TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")


class InvalidVariable(ValueError):
    """An environment variable holds a value that can't be used; the message is for people."""


def given(name: str) -> str | None:
    """The variable as it stands, empty or not; None if it isn't set.

    Raises LookupError for a name that isn't in VARIABLES.
    """
    if name not in VARIABLES:
        raise LookupError(f"{name} is read, and isn't among env.VARIABLES.")
    return os.environ.get(name)


def text(name: str, default: str = "") -> str:
    return given(name) or default


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
