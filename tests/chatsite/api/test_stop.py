"""A generation that nobody waits for is stopped; there is no database in these tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chatsite.api.serving import runs
from inference import client


def test_it_is_stopped_though_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    def cancel(request_id: str) -> bool:
        if request_id == "a" * 32:
            raise client.RedisUnavailable("for this one alone")
        stopped.append(request_id)
        return True

    monkeypatch.setattr(client, "cancel", cancel)
    choices = [SimpleNamespace(request=SimpleNamespace(request_id=c * 32)) for c in "ab"]
    runs.stop(choices)
    assert stopped == ["b" * 32]
