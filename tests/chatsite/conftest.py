"""The cast: Alice owns, Bob is the other user, Charlie is staff, Dana the administrator.

None has a password, since hashing one is slow; tests of signing in give Alice one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from tests.support.sockets import opened
from tests.support.stack import SLUG


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def charlie(db: None) -> User:
    return User.objects.create_user("charlie", is_staff=True)


@pytest.fixture
def dana(db: None) -> User:
    return User.objects.create_user("dana", is_staff=True, is_superuser=True)


@pytest.fixture
def catalog(db: None, default_model_dir: object) -> LanguageModel:
    """The default model's row and a preset; migrations may have seeded them already."""
    SamplingPreset.objects.get_or_create(
        slug="balanced", defaults={"name": "Balanced", "is_default": True, "max_tokens": 64}
    )
    model, _ = LanguageModel.objects.get_or_create(
        slug=SLUG, defaults={"name": "SmolLM2", "is_default": True}
    )
    return model


@pytest_asyncio.fixture
async def sockets(live_redis: object) -> AsyncIterator[None]:
    """An empty Redis, and no worker. Sockets that a test leaves open are ended."""
    yield
    while opened:
        socket = opened.pop()
        socket.future.cancel()
        await asyncio.gather(socket.future, return_exceptions=True)
    for _ in range(5):  # redis-py swallows a cancellation now and then: what is left gets another
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=1)
