"""People who chat keep an eighth of a worker's places beside API traffic, and no wake-up is lost."""

from __future__ import annotations

import threading
from typing import Any

from inference.contract import PRIORITY_API, GenerationRequest
from inference.queue import broker, records
from inference.worker.reserved_capacity import ReservedCapacity
from tests.inference.worker.conftest import Bench
from tests.support.requests import until

API = {"source": "api", "priority": PRIORITY_API}
PLACES_FOR_API = 7  # of the bench's eight


def wake_ups(bench: Bench) -> tuple[int, int]:
    """On the model's queues of people and of API traffic."""
    return broker.count_wake_ups(bench.model, "chat"), broker.count_wake_ups(bench.model, "api")


def fill(bench: Bench) -> list[tuple[GenerationRequest, threading.Thread]]:
    """API traffic in all the places that it may have."""
    return [bench.run(**API) for _ in range(PLACES_FOR_API)]


def ask_more(bench: Bench) -> GenerationRequest:
    """An API request that waits, and the wake-up that came with it is the test's to give."""
    return bench.ask(**API)


def test_api_traffic_takes_seven_of_eight_places_and_a_person_the_last_at_once(
    bench: Bench,
) -> None:
    fill(bench)
    assert bench.capacity.is_api_full
    waiting = ask_more(bench)
    bench.wake("api").join(5)
    assert not bench.runs(waiting)
    person, _ = bench.run()
    assert bench.runs(person)


def test_a_wake_up_that_a_full_worker_cannot_use_waits_for_another(bench: Bench) -> None:
    """Whichever queue it came from: on the queue of API traffic, which a full worker has left."""
    fill(bench)
    ask_more(bench)
    for source in ("api", "chat"):
        bench.wake(source).join(5)  # type: ignore[arg-type]
        assert wake_ups(bench) == (0, 1)


def test_whoever_ends_takes_the_next_without_a_wake_up(bench: Bench) -> None:
    running = fill(bench)
    waiting = ask_more(bench)
    asked, task = running[0]
    bench.engine.end(asked.request_id)
    until(lambda: bench.runs(waiting), what="the next runs")
    assert task.is_alive()
    assert bench.capacity.is_api_full


def test_a_place_is_free_again_when_nothing_waits(bench: Bench) -> None:
    asked, task = fill(bench)[0]
    bench.engine.end(asked.request_id)
    task.join(5)
    assert not bench.capacity.is_api_full
    later, _ = bench.run(**API)
    assert bench.runs(later)


def test_a_place_taken_for_api_traffic_is_given_back_when_a_person_comes_first(
    bench: Bench,
) -> None:
    person = bench.ask()
    bench.wake("api")
    until(lambda: bench.runs(person), what="the person's request runs")
    fill(bench)
    assert bench.capacity.is_api_full


def test_of_two_workers_the_one_with_places_left_takes_what_the_full_one_cannot(
    bench: Bench,
) -> None:
    fill(bench)
    waiting = ask_more(bench)
    bench.wake("api").join(5)
    assert wake_ups(bench) == (0, 1)
    other = Bench(bench.model)
    try:
        other.wake("api")
        until(lambda: other.runs(waiting), what="the other worker takes it")
    finally:
        other.runtime.stop()


def test_a_wake_up_for_people_that_went_to_a_resumed_api_answer_is_sent_anew(bench: Bench) -> None:
    """Else a worker that may take people alone would sleep beside one that waits."""
    resumed, person = bench.ask(attempt=2, **API), bench.ask()
    bench.wake("chat")
    until(lambda: bench.runs(resumed), what="the resumed answer runs")
    until(lambda: wake_ups(bench) == (1, 0), what="another wake-up for the person")
    record = records.get(person.request_id)
    assert record is not None
    assert record.state == "waiting"


def test_each_change_between_full_and_open_is_reported_once() -> None:
    seen: list[bool] = []

    def note(*_: Any) -> None:
        seen.append(capacity.is_api_full)

    capacity = ReservedCapacity(16, on_change=note)
    holders = [str(number) for number in range(20)]
    assert [capacity.take_api_place(holder) for holder in holders] == [True] * 14 + [False] * 6
    assert capacity.take_api_place("3")
    for holder in holders[10:]:
        capacity.release_api_place(holder)
    assert seen == [True, False]
