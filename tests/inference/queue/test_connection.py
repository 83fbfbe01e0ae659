"""Environment variables that can't be are named, with their value."""

from __future__ import annotations

import pytest

from inference.queue.connection import (
    LOOK_EVERY_S,
    RECOVERY_MARGIN_S,
    QueueSettings,
    broker_url,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://127.0.0.1/"),
        ("CHATSITE_MAX_WAITING", "many"),
        ("CHATSITE_MAX_WAITING", "0"),
        ("CHATSITE_LEASE_S", "0.1"),
        ("CHATSITE_LEASE_S", "nan"),
        ("CHATSITE_MAX_LOSSES", "-1"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}.*{value!r}"):
        QueueSettings.from_env()


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSITE_MAX_WAITING", "")
    assert QueueSettings.from_env().max_waiting == QueueSettings().max_waiting


def test_a_lost_request_has_ended_within_the_promised_time_with_a_second_in_hand() -> None:
    """Renewed just before the kill, noticed at the latest, nobody comes, ended at the latest."""
    kept = QueueSettings()
    longest_s = kept.lease_s + LOOK_EVERY_S + kept.recovery_wait_s + LOOK_EVERY_S
    assert longest_s <= kept.recover_within_s - RECOVERY_MARGIN_S
    assert RECOVERY_MARGIN_S >= 1.0


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("unix:///run/r.sock?db=3", "redis+socket:///run/r.sock?virtual_host=3"),
        ("unix:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=0"),
        ("redis://host:1/2", "redis://host:1/2"),
        ("rediss://host:1/2", "rediss://host:1/2"),
    ],
)
def test_celery_gets_the_same_redis_under_its_own_name(url: str, broker: str) -> None:
    assert broker_url(url) == broker
