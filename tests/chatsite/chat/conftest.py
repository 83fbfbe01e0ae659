"""A conversation of Alice's."""

from __future__ import annotations

import uuid

import pytest

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message


@pytest.fixture
def thread(alice: User) -> Conversation:
    """A finished exchange of Alice's."""
    conversation = Conversation.objects.create(owner=alice, title="Milk and eggs")
    question = Message.objects.create(
        conversation=conversation,
        role="user",
        text="Buy milk?",
        author=alice,
    )
    answer = Message.objects.create(
        conversation=conversation,
        parent=question,
        role="assistant",
        text="Six bottles.",
        token_ids=[1, 2, 3],
        finish_reason="stop",
        author=alice,
        request_id=uuid.uuid4(),
    )
    conversation.active_leaf = answer
    conversation.save()
    return conversation
