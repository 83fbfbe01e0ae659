"""An answer is stored whatever stands in its stream: damage, or entries of a newer version."""

from __future__ import annotations

import pytest

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel
from chatsite.chat.models import Message
from chatsite.generation.checkpoints import Checkpoints
from chatsite.generation.models import Generation
from chatsite.generation.store import store
from chatsite.generation.tasks import store_finished
from inference import client
from inference.contract import GenerationRequest
from inference.queue import keys
from inference.queue.connection import connect
from tests.chatsite.generation.conftest import ask, claimed
from tests.support.redis import RedisServer
from tests.support.requests import break_stream, delta, ending, write

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def answer(live_redis: RedisServer, alice: User, catalog: LanguageModel) -> Message:
    return ask(alice)


@pytest.fixture
def request_(answer: Message) -> GenerationRequest:
    """The answer's request, taken up by a worker."""
    return claimed(answer)


def test_an_answer_is_stored_though_its_stream_has_entries_that_cannot_be_read(
    answer: Message, request_: GenerationRequest
) -> None:
    write(delta(request_, 0))
    break_stream(request_)
    Checkpoints(every_s=0).save_running([answer.request_id])
    assert Message.objects.get(pk=answer.pk).text == "0"
    write(delta(request_, 1), ending(request_, completion_tokens=2))
    assert store(answer.request_id)
    stored = Message.objects.get(pk=answer.pk)
    assert (stored.text, stored.token_ids) == ("01", [0, 1])
    assert Generation.objects.get(request_id=answer.request_id).state == "stop"


def test_an_end_that_cannot_be_read_ends_the_answer_with_its_text(
    answer: Message, request_: GenerationRequest
) -> None:
    write(delta(request_, 0), delta(request_, 1), ending(request_, completion_tokens=2))
    stream = keys.stream(request_.request_id)
    ((entry, fields),) = connect().xrevrange(stream, count=1)
    connect().xdel(stream, entry)
    connect().xadd(stream, fields | {b"d": b"{"})
    store_finished()
    stored = Message.objects.get(pk=answer.pk)
    assert (stored.text, stored.token_ids) == ("01", [0, 1])
    generation = Generation.objects.get(request_id=answer.request_id)
    assert (generation.state, generation.error_code) == ("interrupted", "queue_lost")
    assert client.unstored_results() == []
