"""A checkpoint says what the stream says, and reads each entry once."""

from __future__ import annotations

from typing import Any

import pytest

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel
from chatsite.chat.models import Message
from chatsite.generation.checkpoints import Checkpoints
from chatsite.generation.tasks import note_running
from inference import client
from tests.chatsite.generation.conftest import ask, claimed
from tests.support.redis import RedisServer
from tests.support.requests import delta, write

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_checkpoint_reads_on_from_the_last_one(
    live_redis: RedisServer, alice: User, catalog: LanguageModel, monkeypatch: Any
) -> None:
    answer = ask(alice)
    request = claimed(answer)
    read: list[int] = []
    read_after = client.read_after

    def counted(*args: Any) -> Any:
        events, last = read_after(*args)
        read.append(len(events))
        return events, last

    monkeypatch.setattr(client, "read_after", counted)
    checkpoints = Checkpoints(every_s=0)
    for first in (0, 5, 5, 8):
        end = {0: 5, 5: 8, 8: 9}[first]
        write(*(delta(request, n) for n in range(first, end)))
        checkpoints.save_running([answer.request_id])
        stored = Message.objects.get(pk=answer.pk)
        assert stored.token_ids == list(range(end))
        assert stored.num_tokens == end
        assert stored.text == "".join(map(str, range(end)))
    assert read == [6, 3, 0, 1]  # the first one brings the Started entry, too


def test_another_process_begins_at_the_beginning(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    answer = ask(alice)
    request = claimed(answer)
    write(delta(request, 0))
    Checkpoints(every_s=0).save_running([answer.request_id])
    write(delta(request, 1))
    Checkpoints(every_s=0).save_running([answer.request_id])
    assert Message.objects.get(pk=answer.pk).token_ids == [0, 1]


def test_running_requests_are_noted_in_one_update(
    live_redis: RedisServer, alice: User, catalog: LanguageModel, django_assert_max_num_queries: Any
) -> None:
    answer = ask(alice)
    claimed(answer)
    note_running(client.look().live)
    row = Message.objects.get(pk=answer.pk)
    assert row.state in ("queued", "running")
    with django_assert_max_num_queries(1):
        note_running(client.look().live)  # the next checkpoint is seconds away
