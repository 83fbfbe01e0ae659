"""What a pipeline whose answer was lost, or a Redis that forgot, does to a stream: nothing."""

from __future__ import annotations

import random

import pytest

from inference import client
from inference.queue import keys, records
from inference.queue.connection import connect
from inference.queue.stream_writer import Gap
from tests.support.requests import delta, ending, new_request, positions, running, write

pytestmark = pytest.mark.usefixtures("live_redis")


def test_a_step_that_is_written_twice_is_there_once() -> None:
    asked = running(new_request())
    step = [delta(asked, 0), delta(asked, 1)]
    assert write(*step) == ["written", "written"]
    assert write(*step, delta(asked, 2)) == ["known", "known", "written"]
    assert positions(client.read(asked.request_id)) == [0, 1, 2]


def test_a_missing_token_is_named_and_nothing_is_written_behind_it() -> None:
    asked = running(new_request())
    write(delta(asked, 0))
    late = ending(asked, completion_tokens=3)
    assert write(delta(asked, 2), late) == [Gap(1), Gap(1)]
    assert write(delta(asked, 1), delta(asked, 2), late) == ["written"] * 3
    assert positions(client.read(asked.request_id)) == [0, 1, 2]


def test_a_redis_that_forgot_the_scripts_is_taught_them() -> None:
    asked = running(new_request())
    connect().script_flush()
    assert write(delta(asked, 0), delta(asked, 1), ending(asked)) == ["written"] * 3
    assert positions(client.read(asked.request_id)) == [0, 1]


def test_nothing_is_written_for_a_request_that_redis_lost() -> None:
    asked = running(new_request())
    connect().flushdb()
    assert write(delta(asked, 0), ending(asked)) == ["refused", "refused"]
    assert connect().keys("*") == []


def test_any_way_of_repeating_and_losing_gives_each_token_once() -> None:
    """Whatever is sent again and in which bundles: the stream is 0, 1, 2 … without a hole."""
    chance = random.Random(7)
    for _ in range(20):
        asked = running(new_request())
        done = 0
        while done < 40:
            begin = max(0, done - chance.randrange(5)) + chance.choice([0, 0, 0, 2])
            outcomes = write(
                *(delta(asked, p) for p in range(begin, begin + chance.randrange(1, 9)))
            )
            done += sum(outcome == "written" for outcome in outcomes)
        entry = records.get(asked.request_id)
        assert entry is not None
        assert entry.next_token == done
        assert positions(client.read(asked.request_id)) == list(range(done))
        connect().delete(keys.stream(asked.request_id))
