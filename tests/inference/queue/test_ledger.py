"""Moves of a request in the ledger, against a real Redis."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from inference import client
from inference.contract import (
    PRIORITY_API,
    Constraint,
    GenerationRequest,
    Result,
    SamplingParams,
    Started,
)
from inference.queue import keys, ledger, records
from inference.queue.connection import connect
from tests.support.requests import (
    BROKEN_ENTRIES,
    break_stream,
    claim_next,
    delta,
    ending,
    is_claimed,
    lose_worker,
    new_request,
    running,
    write,
)

pytestmark = pytest.mark.usefixtures("live_redis")


def test_a_request_is_claimed_once_whoever_asks() -> None:
    asked = new_request()
    assert ledger.submit(asked) == "ok"
    assert ledger.submit(asked) == "duplicate"
    assert is_claimed(asked)
    assert claim_next("w2") is None


def test_the_one_who_claims_gets_the_request_as_it_was_sent() -> None:
    asked = new_request(continue_from=(4, 5))
    ledger.submit(asked)
    assert claim_next() == asked
    (started,) = client.read(asked.request_id)
    assert isinstance(started, Started)
    assert (started.request_id, started.attempt, started.worker) == (asked.request_id, 1, "w1")


@pytest.mark.parametrize(
    "constraint",
    [Constraint("regex", "a+"), Constraint("grammar", "root ::= 'é'"), Constraint("schema", "{}")],
)
def test_who_goes_on_with_a_request_has_all_its_rules(constraint: Constraint) -> None:
    rules = SamplingParams(
        stop_token_ids=(2, 7),
        bad_token_ids=((1,), (2, 3)),
        allowed_token_ids=(5, 6),
        skip_special_tokens=False,
        keeps_first_space=True,
        stop=("\n",),
        logit_bias=((4, -1.5),),
    )
    asked = new_request(sampling=rules, cache_salt="s", echo_logprobs=3, constraint=constraint)
    ledger.submit(asked)
    first = claim_next()
    assert first is not None
    assert first == asked
    lose_worker(asked)
    entry = records.get(asked.request_id)
    assert entry is not None
    again = dataclasses.replace(first, attempt=2, continue_from=())
    assert ledger.resubmit(entry, again, is_lost=True, is_ours=False)
    second = claim_next("w2")
    assert second is not None
    assert second == dataclasses.replace(asked, attempt=2)
    assert second.constraint is not None


def test_a_worker_with_another_model_leaves_it_to_others() -> None:
    asked = new_request()
    ledger.submit(asked)
    assert claim_next(model="another") is None
    assert is_claimed(asked)


def test_a_forgotten_request_does_not_stand_before_others() -> None:
    for _ in range(40):
        forgotten = new_request()
        ledger.submit(forgotten)
        connect().delete(keys.request(forgotten.request_id))
    asked = new_request()
    ledger.submit(asked)
    assert is_claimed(asked)
    assert records.count_waiting("m") == 0


def api_request(priority: int = PRIORITY_API, **changes: Any) -> GenerationRequest:
    return new_request(source="api", priority=priority, **changes)


def test_answers_that_had_begun_go_before_people_and_people_before_api_traffic() -> None:
    order = [
        new_request(attempt=2),
        api_request(attempt=2),
        *(new_request() for _ in range(20)),
        api_request(PRIORITY_API - 1000),
        *(api_request() for _ in range(20)),
        api_request(PRIORITY_API + 1),
        api_request(PRIORITY_API + 1000),
    ]
    people = [r for r in order if r.source == "chat"]
    for asked in [r for r in reversed(order) if r not in people and r.priority != PRIORITY_API]:
        ledger.submit(asked)
    for asked in order:
        ledger.submit(asked)
    places = [records.queue_position("m", asked.request_id) for asked in order]
    assert places == list(range(1, len(order) + 1))
    assert [claim_next() for _ in order] == order


def test_a_worker_that_may_take_people_alone_passes_api_traffic_over() -> None:
    resumed, person, late = api_request(attempt=2), new_request(), api_request()
    for asked in (late, resumed, person):
        ledger.submit(asked)
    assert ledger.claim_next("m", worker="w1", only="chat").request == person
    claim = ledger.claim_next("m", worker="w1", only="chat")
    assert claim.request is None
    assert claim.is_rest_barred
    assert ledger.claim_next("m", worker="w1").request == resumed
    assert ledger.claim_next("m", worker="w1").request == late
    assert not ledger.claim_next("m", worker="w1", only="chat").is_rest_barred


def test_an_expired_request_is_passed_over() -> None:
    expired, asked = new_request(expires_s=-1.0), new_request()
    for one in (expired, asked):
        ledger.submit(one)
    assert claim_next() == asked
    assert claim_next() is None


def test_who_comes_first_goes_first_and_the_next_moves_up() -> None:
    first, second = new_request(), new_request()
    for asked in (first, second):
        ledger.submit(asked)
    assert [records.queue_position("m", r.request_id) for r in (first, second)] == [1, 2]
    assert is_claimed(first)
    assert records.queue_position("m", second.request_id) == 1
    assert records.queue_position("m", first.request_id) is None


def test_a_full_line_refuses_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(ledger.settings(), max_waiting=2)
    monkeypatch.setattr(ledger, "settings", lambda: few)
    assert [ledger.submit(new_request()) for _ in range(2)] == ["ok", "ok"]
    refused = new_request()
    assert ledger.submit(refused) == "full"
    assert records.get(refused.request_id) is None


def test_an_older_attempt_writes_nothing_after_a_resubmission() -> None:
    asked = running(new_request())
    assert write(delta(asked, 0)) == ["written"]
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    assert write(delta(asked, 1), ending(asked)) == ["refused", "refused"]
    entry = records.get(asked.request_id)
    assert entry is not None
    assert (entry.state, entry.attempt) == ("waiting", 2)
    assert entry.request.continue_from == (0,)


def test_a_resubmitted_answer_goes_on_from_its_last_token() -> None:
    asked = running(new_request(continue_from=(7,)))
    write(delta(asked, 1), delta(asked, 2))
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    again = records.get(asked.request_id)
    assert again is not None
    assert again.request.continue_from == (7, 1, 2)
    assert is_claimed(again.request, "w2")
    write(delta(asked, 3, attempt=2), ending(asked, attempt=2))
    kinds = [type(event).__name__ for event in client.read(asked.request_id)]
    assert kinds == ["Started", "Delta", "Delta", "Started", "Delta", "Result"]


def test_a_request_under_a_lease_is_neither_resubmitted_nor_interrupted() -> None:
    asked = running(new_request())
    assert not client.resubmit(asked.request_id)
    assert not client.interrupt(asked.request_id)


def test_a_renewed_lease_says_how_the_request_stands() -> None:
    asked, cancelled, gone = running(new_request()), running(new_request()), new_request()
    client.cancel(cancelled.request_id)
    standing = ledger.renew_leases((r.request_id, 1) for r in (asked, cancelled, gone))
    assert list(standing.values()) == ["ours", "cancelled", "lost"]
    assert ledger.renew_leases([(asked.request_id, 2)]) == {asked.request_id: "lost"}


def test_cancelling_a_waiting_request_ends_it_and_nobody_takes_it() -> None:
    asked = new_request()
    ledger.submit(asked)
    assert client.cancel(asked.request_id)
    assert claim_next() is None
    (result,) = client.read(asked.request_id)
    assert isinstance(result, Result)
    assert result.finish_reason == "cancelled"
    assert records.count_waiting("m") == 0
    assert not client.cancel(asked.request_id)


def test_exactly_one_terminal_entry_is_written() -> None:
    asked = running(new_request())
    assert write(ending(asked), ending(asked)) == ["written", "refused"]
    assert not client.interrupt(asked.request_id)
    assert sum(isinstance(e, Result) for e in client.read(asked.request_id)) == 1
    assert client.unstored_results() == [asked.request_id]


def test_a_stored_answer_is_forgotten_when_its_readers_are_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = running(new_request())
    write(ending(asked))
    soon = dataclasses.replace(ledger.settings(), forget_s=0)
    monkeypatch.setattr(ledger, "settings", lambda: soon)
    client.forget(asked.request_id)
    assert client.unstored_results() == []
    assert client.read(asked.request_id) == []
    assert not client.is_known(asked.request_id)
    with pytest.raises(client.NoSuchRequest):
        client.result(asked.request_id)


def test_entries_that_cannot_be_read_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    asked = running(new_request())
    write(delta(asked, 0))
    break_stream(asked)
    events, last = client.read_after(asked.request_id)
    assert [type(event).__name__ for event in events] == ["Started", "Delta"]
    assert len(caplog.messages) == len(BROKEN_ENTRIES)
    assert client.read_after(asked.request_id, last) == ([], last)  # and not read again
    assert len(caplog.messages) == len(BROKEN_ENTRIES)
    write(delta(asked, 1), ending(asked, completion_tokens=2))
    assert client.result(asked.request_id) == ending(asked, completion_tokens=2)


def test_a_request_goes_on_elsewhere_though_its_stream_has_entries_that_cannot_be_read() -> None:
    asked = running(new_request())
    write(delta(asked, 0))
    break_stream(asked)
    write(delta(asked, 1))
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    again = claim_next("w2")
    assert again is not None
    assert again.continue_from == (0, 1)
