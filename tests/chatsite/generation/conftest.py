"""Questions that are accepted, with a real Redis and no worker."""

from __future__ import annotations

from chatsite.accounts.models import User
from chatsite.chat import actions
from chatsite.chat.models import Message
from inference.contract import GenerationRequest
from inference.queue import records
from tests.support.frames import action_ids
from tests.support.requests import is_claimed


def ask(user: User, text: str = "What is a river?") -> Message:
    """A question of this person's; its answer as it is stored."""
    return actions.send_message(user, **action_ids(), text=text).messages[-1]


def claimed(answer: Message) -> GenerationRequest:
    """The answer's request, taken by worker w1. No other may wait."""
    record = records.get(answer.request_id.hex)
    assert record is not None
    assert is_claimed(record.request)
    return record.request
