"""Settings of a worker that can't be are named, with their value."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inference.worker.worker_config import WorkerSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHATSITE_THREADS", "two"),
        ("CHATSITE_TENSOR_PARALLEL", "0"),
        ("CHATSITE_MAX_RUNNING", "0"),
        ("CHATSITE_STALL_S", "-1"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}.*{value!r}"):
        WorkerSettings.from_env()


def test_an_empty_model_means_none_until_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSITE_MODEL", "")
    assert WorkerSettings.from_env().model == ""


@pytest.mark.slow
@pytest.mark.usefixtures("live_redis")
def test_a_worker_whose_model_is_not_there_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATSITE_MODEL", "no-such-model")
    command = [sys.executable, "-m", "celery", "-A", "inference.worker", "worker", "-n", "x@test"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "There is no model folder" in done.stderr
