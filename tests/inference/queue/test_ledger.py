"""Moves of a request in the ledger, against a real Redis."""

from __future__ import annotations

import dataclasses

import pytest

from inference import client
from inference.contract import Constraint, Result, SamplingParams
from inference.queue import ledger
from tests.support.requests import (
    delta,
    ending,
    is_claimed,
    lose_worker,
    new_request,
    running,
    write,
)

pytestmark = pytest.mark.usefixtures("live_redis")


def test_a_request_is_claimed_once_whoever_comes_with_its_task() -> None:
    asked = new_request()
    assert ledger.submit(asked) == "ok"
    assert ledger.submit(asked) == "duplicate"
    assert is_claimed(asked)
    assert not is_claimed(asked, "w2")


def test_the_one_who_claims_gets_the_request_as_it_was_sent() -> None:
    asked = new_request(continue_from=(4, 5))
    ledger.submit(asked)
    claim = ledger.claim(asked.request_id, 1, worker="w1", model=asked.model)
    assert claim.request == asked


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
    first = ledger.claim(asked.request_id, 1, worker="w1", model=asked.model).request
    assert first is not None
    assert first == asked
    lose_worker(asked)
    entry = ledger.look(asked.request_id)
    assert entry is not None
    again = dataclasses.replace(first, attempt=2, continue_from=())
    assert ledger.resubmit(entry, again, is_lost=True, is_ours=False)
    second = ledger.claim(asked.request_id, 2, worker="w2", model=asked.model).request
    assert second is not None
    assert second == dataclasses.replace(asked, attempt=2)
    assert second.constraint is not None


def test_a_worker_with_another_model_leaves_it_to_others() -> None:
    asked = new_request()
    ledger.submit(asked)
    claim = ledger.claim(asked.request_id, 1, worker="w1", model="another")
    assert (claim.outcome, claim.model) == ("other", asked.model)
    assert is_claimed(asked)


def test_a_task_of_a_forgotten_request_finds_it_gone() -> None:
    assert ledger.claim("0" * 32, 1, worker="w1", model="m").outcome == "gone"


def test_the_line_keeps_its_order_and_people_come_before_batches() -> None:
    batch, first, second = new_request(priority=10), new_request(), new_request()
    for asked in (batch, first, second):
        ledger.submit(dataclasses.replace(asked))
    places = [ledger.place("m", r.request_id) for r in (first, second, batch)]
    assert sorted(places[:2]) == [1, 2]
    assert places[2] == 3
    is_claimed(first)
    assert ledger.place("m", second.request_id) == 1
    assert ledger.place("m", first.request_id) is None


def test_a_full_line_refuses_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(ledger.settings(), max_waiting=2)
    monkeypatch.setattr(ledger, "settings", lambda: few)
    assert [ledger.submit(new_request()) for _ in range(2)] == ["ok", "ok"]
    refused = new_request()
    assert ledger.submit(refused) == "full"
    assert ledger.look(refused.request_id) is None


def test_an_older_attempt_writes_nothing_after_a_resubmission() -> None:
    asked = running(new_request())
    assert write(delta(asked, 0)) == ["written"]
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    assert write(delta(asked, 1), ending(asked)) == ["refused", "refused"]
    entry = ledger.look(asked.request_id)
    assert entry is not None
    assert (entry.state, entry.attempt) == ("waiting", 2)
    assert entry.request.continue_from == (0,)


def test_a_resubmitted_answer_goes_on_from_its_last_token() -> None:
    asked = running(new_request(continue_from=(7,)))
    write(delta(asked, 1), delta(asked, 2))
    lose_worker(asked)
    assert client.resubmit(asked.request_id)
    again = ledger.look(asked.request_id)
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
    standing = ledger.refresh((r.request_id, 1) for r in (asked, cancelled, gone))
    assert list(standing.values()) == ["ours", "cancelled", "lost"]
    assert ledger.refresh([(asked.request_id, 2)]) == {asked.request_id: "lost"}


def test_cancelling_a_waiting_request_ends_it_and_its_task_finds_nothing() -> None:
    asked = new_request()
    ledger.submit(asked)
    assert client.cancel(asked.request_id)
    assert not is_claimed(asked)
    (result,) = client.read(asked.request_id)
    assert isinstance(result, Result)
    assert result.finish_reason == "cancelled"
    assert ledger.count_waiting("m") == 0
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
