"""An interrupted answer goes on by itself, if its person still wants it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.chat import actions, resume
from chatsite.chat.models import Conversation, Message
from chatsite.generation.models import Generation
from inference import client
from tests.chatsite.server.test_health import worker_that_is


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """The answers that were continued; a worker for model "m" is ready."""
    found: list[uuid.UUID] = []
    monkeypatch.setattr(client, "workers", lambda: [worker_that_is("ready")])
    monkeypatch.setattr(
        actions, "continue_answer", lambda user, **asked: found.append(asked["message_id"])
    )
    return found


@pytest.fixture
def lost(thread: Conversation) -> Message:
    """Alice's last answer, interrupted a moment ago."""
    answer = thread.active_leaf
    assert answer is not None
    answer.finish_reason, answer.error_code, answer.model_slug = "interrupted", "worker_lost", "m"
    answer.save()
    interruption(answer)
    return answer


def interruption(answer: Message, **changes: Any) -> Generation:
    fields: dict[str, Any] = {
        "request_id": answer.request_id,
        "subject": answer.pk,
        "source": "chat",
        "model_slug": "m",
        "state": "interrupted",
        "error_code": "worker_lost",
        "received_at": timezone.now(),
        "sampling": {},
        "received_stamp": {},
        "user": answer.author,
    }
    return Generation.objects.create(**(fields | changes))


def test_it_goes_on_when_a_worker_is_ready(lost: Message, resumed: list[uuid.UUID]) -> None:
    assert resume.resume_interrupted() == 1
    assert resumed == [lost.pk]


def test_it_waits_for_a_worker(
    lost: Message, resumed: list[uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "workers", lambda: [worker_that_is("loading")])
    assert resume.resume_interrupted() == 0


def write_on(lost: Message) -> None:
    conversation = lost.conversation
    conversation.active_leaf = Message.objects.create(
        conversation=conversation, parent=lost, role="user", text="Well?", author=lost.author
    )
    conversation.save()


def stop(lost: Message) -> None:
    Message.objects.filter(pk=lost.pk).update(finish_reason="cancelled")


def grow_old(lost: Message) -> None:
    Generation.objects.update(received_at=timezone.now() - dt.timedelta(hours=1))


def end_workers(lost: Message) -> None:
    for _ in range(resume.MAX_INTERRUPTIONS):
        interruption(lost, request_id=uuid.uuid4())


def deactivate(lost: Message) -> None:
    User.objects.update(is_active=False)


@pytest.mark.parametrize("happened", [write_on, stop, grow_old, end_workers, deactivate])
def test_it_does_not_go_on_when_nobody_wants_it(
    lost: Message, resumed: list[uuid.UUID], happened: Callable[[Message], None]
) -> None:
    happened(lost)
    assert resume.resume_interrupted() == 0
    assert resumed == []


def test_continuing_what_goes_on_already_changes_nothing(lost: Message, alice: User) -> None:
    Message.objects.filter(pk=lost.pk).update(state="running", finish_reason="")
    accepted = actions.continue_answer(alice, request_id=uuid.uuid4(), message_id=lost.pk)
    assert [message.pk for message in accepted.messages] == [lost.pk]
    assert not accepted.is_new
