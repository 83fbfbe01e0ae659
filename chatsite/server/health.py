"""Liveness (/healthz) and readiness (/readyz: database, Redis, disk and a worker with a model)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from chatsite.errors import of_machine_error
from chatsite.server import disk_space
from inference import client
from inference.contract import ErrorCode

WRITE = """UPDATE django_migrations SET app = app
    WHERE id = (SELECT MIN(id) FROM django_migrations)"""
"""Changes nothing and is written all the same."""
WRITE_EVERY_S = 1.0
"""Whoever asks more often is told of the last write: anybody may ask."""
BUSY_MS = 1000
STATES = {ErrorCode.DISK_FULL: "full", ErrorCode.DATABASE_BUSY: "busy"}

_written_at = float("-inf")


class UnloggedResponse(JsonResponse):
    """Django logs each 503, unless it has been logged; this one is asked for every few seconds."""

    _has_been_logged = True


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "alive"})


@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when questions can be taken: database and Redis were written to, there is space on the
    disk, and at least one worker has a loaded model.
    """
    checks = {
        "database": _database(),
        "redis": "ok",
        "disk": "low" if disk_space.is_low() else "ok",
        "worker": "missing",
    }
    try:
        client.write_probe()
        states = [worker.engine.state for worker in client.workers()]
    except client.RedisUnavailable:
        checks["redis"] = "missing"
    else:
        if "ready" in states:
            checks["worker"] = "ok"
        elif states:
            checks["worker"] = states[0]
    missing = [name for name, state in checks.items() if state != "ok"]
    return UnloggedResponse(
        {"status": "missing" if missing else "ready", "missing": missing, "checks": checks},
        status=503 if missing else 200,
    )


def _database() -> str:
    """ "ok" when a write went through a moment ago; else "busy", "full" or "missing"."""
    global _written_at
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            if time.monotonic() - _written_at > WRITE_EVERY_S:
                with _short_wait(cursor):
                    cursor.execute(WRITE)
                _written_at = time.monotonic()
    except DatabaseError as error:
        refusal = of_machine_error(error)
        return STATES.get(refusal.code, "missing") if refusal else "missing"
    return "ok"


@contextmanager
def _short_wait(cursor: Any) -> Iterator[None]:
    """Wait for SQLite's lock for a second, not for as long as people's writes do."""
    if connection.vendor != "sqlite":
        yield
        return
    cursor.execute("PRAGMA busy_timeout")
    (usual_ms,) = cursor.fetchone()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    try:
        yield
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {int(usual_ms)}")
