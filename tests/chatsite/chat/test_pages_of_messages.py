"""A conversation is sent from its end: the last messages first, and where all the others stand."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message

pytestmark = pytest.mark.django_db


@pytest.fixture
def long(alice: User) -> Conversation:
    """Thirty messages in a row, and another version of the last answer that isn't shown."""
    conversation = Conversation.objects.create(owner=alice, title="Long")
    at: Message | None = None
    for n in range(30):
        role = "assistant" if n % 2 else "user"
        before = at
        at = Message.objects.create(
            conversation=conversation, parent=at, role=role, text=f"text {n}", author=alice
        )
    Message.objects.create(
        conversation=conversation, parent=before, role="assistant", text="other", author=alice
    )
    conversation.active_leaf = at
    conversation.save()
    return conversation


def fetched(client: Client, alice: User, conversation: Conversation, query: str) -> dict[str, Any]:
    client.force_login(alice)
    reply: dict[str, Any] = client.get(f"/conversations/{conversation.pk}/{query}").json()
    return reply


def texts(reply: dict[str, Any]) -> list[str]:
    return [message["text"] for message in reply["messages"]]


def test_the_last_messages_come_first_and_the_outline_has_all(
    alice: User, client: Client, long: Conversation
) -> None:
    reply = fetched(client, alice, long, "?limit=4")
    assert texts(reply) == [f"text {n}" for n in range(26, 30)]
    assert len(reply["outline"]) == 31
    assert reply["outline"][0][1:] == [None, "user"]
    first = reply["messages"][0]
    before = fetched(client, alice, long, f"?limit=3&leaf={first['parent']}")
    assert texts(before) == ["text 23", "text 24", "text 25"]
    assert before["outline"] == []


def test_without_a_limit_all_messages_come(alice: User, client: Client, long: Conversation) -> None:
    assert len(fetched(client, alice, long, "")["messages"]) == 31


def test_an_answer_that_is_being_written_comes_wherever_it_stands(
    alice: User, client: Client, long: Conversation
) -> None:
    Message.objects.filter(text="other").update(state="running")
    assert "other" in texts(fetched(client, alice, long, "?limit=2"))


@pytest.mark.parametrize("query", ["?limit=0", "?limit=x", "?limit=2&leaf=x"])
def test_a_wrong_limit_or_leaf_is_named(
    alice: User, client: Client, long: Conversation, query: str
) -> None:
    assert fetched(client, alice, long, query)["error"]["code"] == "bad_field"


def test_a_leaf_that_is_not_there_gives_the_end(
    alice: User, client: Client, long: Conversation
) -> None:
    assert len(fetched(client, alice, long, f"?limit=2&leaf={uuid.uuid4()}")["messages"]) == 2
