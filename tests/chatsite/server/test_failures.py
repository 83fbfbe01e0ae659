"""A database that is locked and a disk that is full, as pages, scripts and programs are told."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connection
from django.test import Client, override_settings

from chatsite.errors import ChatError, of_machine_error
from chatsite.server import disk_space, health
from tests.support.redis import RedisServer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("database is locked"), "database_busy"),
        (OperationalError("connection to server at 10.0.0.1 failed"), "database_busy"),
        (OperationalError("database or disk is full"), "disk_full"),
        (OperationalError("disk I/O error"), "disk_full"),
        (OperationalError("attempt to write a readonly database"), "disk_full"),
        (OSError(28, "No space left on device"), "disk_full"),
    ],
)
def test_what_the_machine_does_has_a_code_that_may_be_tried_again(
    error: Exception, code: str
) -> None:
    refusal = of_machine_error(error)
    assert refusal is not None
    assert (refusal.code, refusal.status) == (code, 503)
    assert refusal.text.endswith(".")


def test_a_fault_of_the_program_stays_one() -> None:
    assert of_machine_error(ProgrammingError("no such column")) is None
    assert of_machine_error(ValueError()) is None


@pytest.fixture
def locked(transactional_db: None) -> Iterator[None]:
    """Another process holds SQLite's lock; nobody waits long for it here."""
    holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 100")
    holder.execute("BEGIN IMMEDIATE")
    yield
    holder.execute("ROLLBACK")
    holder.close()
    connection.close()


def sign_in(accept: str) -> Any:
    client = Client(raise_request_exception=False)
    form = {"username": "alice", "password": "guess"}
    return client.post("/accounts/sign-in/", form, headers={"Accept": accept})


def test_signing_in_while_the_database_is_locked_is_a_503(locked: None) -> None:
    page = sign_in("text/html,*/*")
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "5"
    assert "database is busy" in page.content.decode()
    script = sign_in("*/*")
    assert script.status_code == 503
    assert script.json()["error"]["code"] == "database_busy"


@override_settings(DEBUG=False)
def test_other_errors_are_still_a_500(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr("chatsite.accounts.views.SignIn.get", broken)
    page = Client(raise_request_exception=False).get("/accounts/sign-in/")
    assert page.status_code == 500


def test_a_locked_database_is_not_ready(
    locked: None, live_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_written_at", float("-inf"))
    monkeypatch.setattr(health, "BUSY_MS", 50)
    checks = Client().get("/readyz").json()["checks"]
    assert checks["database"] == "busy"
    assert Client().get("/healthz").status_code == 200


def test_a_disk_with_little_space_takes_no_question_and_says_so(
    db: None, live_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000))
    assert Client().get("/readyz").json()["checks"]["disk"] == "low"
    with pytest.raises(ChatError) as refused:
        disk_space.require_space()
    assert refused.value.code == "disk_full"
    monkeypatch.undo()
    assert Client().get("/readyz").json()["checks"]["disk"] == "ok"
    disk_space.require_space()


def test_a_redis_that_takes_no_writes_is_not_ready(db: None, live_redis: RedisServer) -> None:
    client = live_redis.client()
    client.config_set("maxmemory", "1")
    try:
        assert "redis" in Client().get("/readyz").json()["missing"]
    finally:
        client.config_set("maxmemory", "0")


def test_pages_are_kept_by_no_cache_and_use_no_powers(db: None) -> None:
    page = Client().get("/accounts/sign-in/")
    assert "no-store" in page.headers["Cache-Control"]
    assert "camera=()" in page.headers["Permissions-Policy"]
    reply = Client().get("/404-not-there/")
    assert "no-store" in reply.headers["Cache-Control"]
