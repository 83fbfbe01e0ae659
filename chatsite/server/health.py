"""Liveness (/healthz) and readiness (/readyz: database, Redis and a worker with a model)."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from inference import client


class UnloggedResponse(JsonResponse):
    """Django logs each 503, unless it has been logged; this one is asked for every few seconds."""

    _has_been_logged = True


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "alive"})


@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database, Redis and at least one worker with a loaded model are there."""
    checks = {"database": _database(), "redis": "ok", "worker": "missing"}
    try:
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
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "missing"
    return "ok"
