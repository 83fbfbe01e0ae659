"""The cast: Alice owns, Bob is the other user. A model and presets, as the site seeds them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.chat.models import Conversation, Message
from tests.support.sockets import opened


@pytest_asyncio.fixture
async def sockets(live_redis: object) -> AsyncIterator[None]:
    """An empty Redis, and no worker. Sockets that a test leaves open are ended."""
    yield
    while opened:
        socket = opened.pop()
        socket.future.cancel()
        await asyncio.gather(socket.future, return_exceptions=True)


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="alice-has-a-long-password")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", password="bob-has-a-long-password")


@pytest.fixture
def catalog(db: None, default_model_dir: object) -> LanguageModel:
    """The default model's row and a preset; migrations may have seeded them already."""
    SamplingPreset.objects.get_or_create(
        slug="balanced", defaults={"name": "Balanced", "is_default": True, "max_tokens": 64}
    )
    model, _ = LanguageModel.objects.get_or_create(
        slug="smollm2-135m-instruct", defaults={"name": "SmolLM2", "is_default": True}
    )
    return model


@pytest.fixture
def thread(alice: User) -> Conversation:
    """A finished exchange of Alice's."""
    conversation = Conversation.objects.create(owner=alice, title="Milk and eggs")
    question = Message.objects.create(
        conversation=conversation,
        role="user",
        text="Buy milk?",
        author=alice,
        client_id=uuid.uuid4(),
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
