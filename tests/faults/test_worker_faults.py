"""Faults of the worker and of Redis in the middle of an answer, produced for real."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from inference import client
from inference.contract import TOKEN_RECORD, Delta, GenerationRequest, Result
from inference.queue import broker, records
from inference.queue.connection import settings
from tests.faults.conftest import Ask, recover_lost, transcript, until
from tests.support.redis import RedisServer
from tests.support.worker import MODEL, Worker


def record_of(wire: bytes) -> np.void:
    return np.frombuffer(wire, dtype=TOKEN_RECORD)[0]


def wake_ups() -> int:
    return broker.count_wake_ups(MODEL, "chat") + broker.count_wake_ups(MODEL, "api")


def ended(request: GenerationRequest) -> bool:
    recover_lost()
    return transcript(request).result is not None


def is_given_to_others(request: GenerationRequest) -> bool:
    recover_lost()
    entry = records.get(request.request_id)
    return entry is not None and entry.attempt == 2


def undisturbed(ask: Ask, text: str, *, max_tokens: int) -> str:
    request = ask(text, max_tokens=max_tokens)
    until(lambda: transcript(request).result is not None, what="an undisturbed answer")
    return transcript(request).text


def test_an_answer_goes_on_from_its_last_token_when_its_worker_is_killed(
    worker: Worker, ask: Ask
) -> None:
    text = "Tell me about rivers."
    expected = undisturbed(ask, text, max_tokens=150)
    request = ask(text, max_tokens=150)
    until(lambda: len(transcript(request).token_ids) >= 10, what="ten tokens")
    worker.kill()
    killed_at = time.monotonic()
    had = len(transcript(request).token_ids)
    worker.start()
    until(lambda: is_given_to_others(request), what="attempt 2 waits")
    waited_s = time.monotonic() - killed_at
    until(lambda: len(transcript(request).token_ids) > had, what="the next token")
    until(lambda: ended(request), what="the end")
    answer = transcript(request)
    assert answer.result is not None
    assert answer.result.finish_reason == "length"
    assert answer.text == expected
    assert len(answer.token_ids) == 150
    assert sorted(answer.attempts) == [1, 2]
    assert answer.result.continued_tokens >= had
    tokens = [record_of(answer.records[n])["token"] for n in range(150)]
    assert tokens == answer.token_ids  # how each was chosen has come through both workers
    assert waited_s < settings().lease_s + 4


def test_a_worker_that_comes_back_from_a_stall_changes_nothing(
    worker: Worker, ask: Ask, tmp_path: Path
) -> None:
    worker.wait_ready()
    text = "Tell me about mountains."
    expected = undisturbed(ask, text, max_tokens=150)
    request = ask(text, max_tokens=150)
    until(lambda: len(transcript(request).token_ids) >= 10, what="ten tokens")
    worker.signal(signal.SIGSTOP)
    other = Worker(tmp_path / "other.log", name="slot2").start()
    try:
        until(
            lambda: (recover_lost(), transcript(request).attempts.keys() >= {1, 2})[1],
            what="attempt 2",
        )
        worker.signal(signal.SIGCONT)
        until(lambda: ended(request), what="the end")
    finally:
        worker.signal(signal.SIGCONT)
        other.stop()
    events = client.read(request.request_id)
    positions = [
        p
        for e in events
        if isinstance(e, Delta)
        for p in range(e.position, e.position + len(e.token_ids))
    ]
    assert positions == list(range(150)), "no token twice, none missing"
    assert sum(isinstance(e, Result) for e in events) == 1
    assert transcript(request).text == expected


def test_an_answer_goes_on_when_redis_restarts(
    worker: Worker, ask: Ask, redis_server: RedisServer
) -> None:
    worker.wait_ready()
    text = "Tell me about islands."
    expected = undisturbed(ask, text, max_tokens=150)
    request = ask(text, max_tokens=150)
    until(lambda: len(transcript(request).token_ids) >= 10, what="ten tokens")
    redis_server.stop()
    time.sleep(1.0)
    redis_server.start()
    until(lambda: ended(request), what="the end")
    assert transcript(request).text == expected
    later = ask("And now?", max_tokens=5)
    until(lambda: ended(later), what="a later answer")


def test_stopping_an_answer_takes_effect_at_once(worker: Worker, ask: Ask) -> None:
    request = ask("Never end.", max_tokens=400)
    until(lambda: len(transcript(request).token_ids) >= 5, what="five tokens")
    client.cancel(request.request_id)
    took = until(lambda: transcript(request).result is not None, timeout_s=10, what="the end")
    result = transcript(request).result
    assert result is not None
    assert result.finish_reason == "cancelled"
    assert took < 5


def test_wake_ups_too_many_make_one_answer_and_are_used_up(worker: Worker, ask: Ask) -> None:
    request = ask("Say hello.", max_tokens=20)
    for _ in range(200):
        broker.send_wake_up(MODEL, "chat")
        broker.send_wake_up(MODEL, "api")
    until(lambda: ended(request), what="the end")
    until(lambda: wake_ups() == 0, what="no wake-up is left")
    events = client.read(request.request_id)
    assert sum(isinstance(e, Result) for e in events) == 1
    assert len(transcript(request).token_ids) == 20


def test_sixty_four_streams_lose_no_token(worker: Worker, ask: Ask) -> None:
    asked = [ask(f"Number {n}?", max_tokens=12) for n in range(64)]
    until(lambda: all(ended(r) for r in asked), timeout_s=150, what="64 answers")
    for request in asked:
        answer = transcript(request)
        assert answer.result is not None
        assert answer.result.finish_reason == "length"
        assert len(answer.token_ids) == 12


def test_a_worker_told_to_stop_hands_its_answers_back(worker: Worker, ask: Ask) -> None:
    """Last: it stops the worker. What it had goes on in the next one."""
    request = ask("A long walk.", max_tokens=200)
    until(lambda: len(transcript(request).token_ids) >= 5, what="five tokens")
    start = time.monotonic()
    assert worker.stop() == 0
    took_s = time.monotonic() - start
    entry = records.get(request.request_id)
    assert entry is not None
    assert (entry.state, entry.attempt, entry.losses) == ("waiting", 2, 0)
    assert took_s < 12
    worker.start()
    until(lambda: ended(request), what="the end")
    assert len(transcript(request).token_ids) == 200


def test_a_worker_logs_nobodys_text(worker: Worker, ask: Ask) -> None:
    worker.start()
    request = ask("Xylophones in Timbuktu", max_tokens=20)
    until(lambda: ended(request), what="the end")
    said = worker.log.read_text()
    assert "Xylophones" not in said
    assert transcript(request).text[:20] not in said
    assert str(request.prompt_token_ids[5:10])[1:-1] not in said


def test_a_worker_is_told_which_model_it_holds(worker: Worker, ask: Ask, tmp_path: Path) -> None:
    """Loading and unloading go through Celery's remote control; an answer outlives both."""
    worker.stop()  # nobody else shall take the request up
    empty = Worker(tmp_path / "empty.log", name="slot3", CHATSITE_MODEL="").start()
    try:
        name = "slot3@test"
        until(lambda: state_of(name) == "empty", what="an empty worker")
        with pytest.raises(client.ClientError, match="no model folder"):
            client.load_model(name, "no-such-model")
        request = ask("A long walk.", max_tokens=300)
        client.load_model(name, MODEL)
        until(lambda: len(transcript(request).token_ids) >= 5, what="five tokens")
        client.unload_model(name)
        until(lambda: state_of(name) == "empty", what="an empty worker again")
        entry = records.get(request.request_id)
        assert entry is not None
        assert (entry.state, entry.attempt) == ("waiting", 2)
        client.load_model(name, MODEL)
        until(lambda: ended(request), what="the end")
        assert len(transcript(request).token_ids) == 300
    finally:
        assert empty.stop() == 0


def state_of(worker: str) -> str:
    return next((w.engine.state for w in client.workers() if w.worker == worker), "")
