"""Alice's accepted question, with a real Redis and no worker."""

from __future__ import annotations

import uuid

import pytest

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.chat import actions
from chatsite.chat.models import Message


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="alice-has-a-long-password")


@pytest.fixture
def model(db: None, default_model_dir: object) -> LanguageModel:
    SamplingPreset.objects.get_or_create(
        slug="balanced", defaults={"name": "Balanced", "is_default": True, "max_tokens": 64}
    )
    model, _ = LanguageModel.objects.get_or_create(
        slug="smollm2-135m-instruct", defaults={"name": "SmolLM2", "is_default": True}
    )
    return model


def ask(user: User, text: str = "What is a river?") -> Message:
    """A question of this person's; its answer as it is stored."""
    return actions.send_message(user, client_id=uuid.uuid4(), text=text).messages[-1]
