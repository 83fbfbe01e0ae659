"""A request is sent exactly as it was accepted, however late, and ends when it can't be sent."""

from __future__ import annotations

import datetime as dt

import pytest

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel
from chatsite.chat.models import Message
from chatsite.generation.models import Generation
from chatsite.generation.submit import pending_requests
from chatsite.generation.tasks import reconcile
from inference import client
from inference.contract import GenerationRequest, Result, from_wire
from inference.queue import records
from tests.chatsite.generation.conftest import ask
from tests.support.redis import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)


def accepted(answer: Message) -> GenerationRequest:
    row = Generation.objects.get(request_id=answer.request_id)
    return from_wire(GenerationRequest, row.accepted_request)


def make_older() -> None:
    """A request of this very moment may still be on its way to the queue."""
    for row in Generation.objects.all():
        Generation.objects.filter(pk=row.pk).update(
            received_at=row.received_at - dt.timedelta(seconds=5)
        )


def test_what_waited_for_the_queue_is_sent_as_it_was_accepted(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    """The system prompt is changed while Redis is away: the answer is to the prompt of before."""
    live_redis.stop()
    answer = ask(alice)
    assert Message.objects.get(pk=answer.pk).state == Message.State.PENDING
    asked = accepted(answer)
    catalog.system_prompt = "Answer as a pirate."
    catalog.save()
    Message.objects.filter(pk=answer.parent_id).update(text="Something else.")
    make_older()
    live_redis.start()
    reconcile()
    entry = records.get(answer.request_id.hex)
    assert entry is not None
    sent = from_wire(GenerationRequest, entry.wire)
    assert sent.prompt_token_ids == asked.prompt_token_ids
    assert (sent.sampling, sent.received) == (asked.sampling, asked.received)
    assert Message.objects.get(pk=answer.pk).state == Message.State.QUEUED
    assert list(pending_requests()) == []


def test_the_request_is_kept_until_it_has_ended_and_no_longer(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    answer = ask(alice)
    assert accepted(answer).request_id == answer.request_id.hex
    client.cancel(answer.request_id.hex)
    reconcile()
    row = Generation.objects.get(request_id=answer.request_id)
    assert (row.state, row.accepted_request) == ("cancelled", "")


def test_a_pending_request_that_is_stopped_ends_without_the_queue(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    from chatsite.chat import actions

    live_redis.stop()
    answer = ask(alice)
    actions.stop_answer(alice, message_id=answer.pk)
    stored = Message.objects.get(pk=answer.pk)
    assert (stored.state, stored.finish_reason) == ("done", "cancelled")
    live_redis.start()
    make_older()
    reconcile()
    assert not client.is_known(answer.request_id.hex)


def test_seeds_are_drawn_once_and_count_up_over_the_choices_of_one_prompt(
    alice: User, catalog: LanguageModel
) -> None:
    from chatsite.generation.build import build_request
    from inference.contract import SamplingParams, Stamp

    def built(seed: int | None, choice: int) -> int | None:
        return build_request(
            model="m",
            prompt_token_ids=(1,),
            sampling=SamplingParams(seed=seed),
            received=Stamp.now(),
            source="api",
            choice=choice,
        ).sampling.seed

    assert [built(7, n) for n in range(3)] == [7, 8, 9]
    assert built(2**63 - 1, 1) == -(2**63)
    assert built(None, 0) != built(None, 0)


def test_a_row_of_before_the_request_was_kept_ends_as_lost(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    live_redis.stop()
    answer = ask(alice)
    live_redis.start()
    Generation.objects.update(accepted_request="")
    for _ in range(4):
        make_older()
    reconcile()
    stored = Message.objects.get(pk=answer.pk)
    assert (stored.finish_reason, stored.error_code) == ("interrupted", "queue_lost")


def test_no_result_is_made_up_for_a_request_that_goes_on(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    answer = ask(alice)
    make_older()
    reconcile()
    assert not any(isinstance(e, Result) for e in client.read(answer.request_id.hex))
    assert Message.objects.get(pk=answer.pk).state == Message.State.QUEUED
