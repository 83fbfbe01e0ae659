"""Deletion is a state of the site: hidden everywhere at once, undone for a while, then purged."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.chat import deletion
from chatsite.chat.models import Conversation, Message, SearchDocument
from chatsite.chat.tasks import purge_deleted
from chatsite.errors import NotFound


def post(client: Client, url: str, body: object) -> tuple[int, dict[str, object]]:
    reply = client.post(url, json.dumps(body), content_type="application/json")
    return reply.status_code, reply.json()


@pytest.fixture
def deleted(alice: User, client: Client, thread: Conversation) -> dict[str, str]:
    """Alice's conversation, deleted by her."""
    client.force_login(alice)
    status, reply = post(client, f"/conversations/{thread.id}/delete/", {})
    assert status == 200
    return reply["deletion"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("verb", "url", "body"),
    [
        ("get", "/c/{id}/", None),
        ("get", "/conversations/{id}/", None),
        ("post", "/conversations/{id}/rename/", {"title": "mine"}),
        ("post", "/conversations/{id}/delete/", {}),
        ("post", "/conversations/{id}/leaf/", {"message": "{message}"}),
        ("post", "/history/{id}/rename/", {}),
    ],
)
def test_a_deleted_conversation_is_nowhere(
    deleted: object, client: Client, thread: Conversation, verb: str, url: str, body: object
) -> None:
    url = url.format(id=thread.id)
    text = json.dumps(body).replace("{message}", str(thread.active_leaf_id))
    reply = client.get(url) if verb == "get" else client.post(url, text, "application/json")
    assert reply.status_code == 404
    assert client.get("/conversations/").json()["items"] == []
    assert client.get("/conversations/?q=bottles").json()["items"] == []
    assert list(client.get("/history/").context["found"].page) == []


def test_nobody_asks_on_in_a_deleted_conversation(
    deleted: object, alice: User, thread: Conversation
) -> None:
    from chatsite.chat.access import own_answer_of, own_conversation, own_message

    answer = Message.objects.get(id=thread.active_leaf_id)
    with pytest.raises(NotFound):
        own_conversation(alice, thread.id)
    with pytest.raises(NotFound):
        own_message(alice, answer.id)
    assert answer.request_id is not None
    with pytest.raises(NotFound):
        own_answer_of(alice, answer.request_id)


def test_it_comes_back_whole_also_after_a_reload(
    deleted: dict[str, str], client: Client, thread: Conversation
) -> None:
    known = client.get("/conversations/").json()["deletion"]
    assert known == deleted == {"at": deleted["at"], "count": 1, "title": "Milk and eggs"}
    status, reply = post(client, "/conversations/restore/", {"at": known["at"]})
    assert (status, reply) == (200, {"restored": [str(thread.id)]})
    shown = client.get(f"/conversations/{thread.id}/").json()
    assert [message["text"] for message in shown["messages"]] == ["Buy milk?", "Six bottles."]
    assert len(client.get("/conversations/?q=bottles").json()["items"]) == 1
    assert client.get("/conversations/").json()["deletion"] is None


def test_bob_cannot_bring_back_what_alice_deleted(
    deleted: dict[str, str], bob: User, client: Client
) -> None:
    client.force_login(bob)
    assert post(client, "/conversations/restore/", {"at": deleted["at"]})[0] == 404
    assert client.get("/conversations/").json()["deletion"] is None
    assert not Conversation.objects.exists()


@pytest.mark.parametrize("at", [7, "", "soon", "2026-11-27T10:00:00", "2026-99-99T00:00:00Z"])
def test_a_moment_that_is_none_is_refused_by_name(alice: User, client: Client, at: object) -> None:
    client.force_login(alice)
    status, reply = post(client, "/conversations/restore/", {"at": at})
    assert status == 400
    assert reply["error"]["field"] == "at"  # type: ignore[index]


def age(minutes: float) -> None:
    Conversation.with_deleted.exclude(deleted_at=None).update(
        deleted_at=timezone.now() - dt.timedelta(minutes=minutes)
    )


def test_it_is_purged_when_the_time_is_over_and_not_before(
    deleted: object, alice: User, client: Client, thread: Conversation
) -> None:
    kept = Conversation.objects.create(owner=alice, title="Kept")
    age(settings.UNDO_MINUTES - 1)
    purge_deleted()
    assert Conversation.with_deleted.count() == 2
    age(settings.UNDO_MINUTES + 2)
    assert client.get("/conversations/").json()["deletion"] is None
    purge_deleted()
    assert list(Conversation.with_deleted.all()) == [kept]
    assert Message.objects.count() == 0
    assert SearchDocument.objects.count() == 1


def test_it_is_too_late_after_the_time(deleted: dict[str, str], client: Client) -> None:
    age(settings.UNDO_MINUTES + 0.1)
    (moment,) = Conversation.with_deleted.values_list("deleted_at", flat=True)
    status, _ = post(client, "/conversations/restore/", {"at": moment.isoformat()})
    assert status == 404


def test_many_are_purged_in_parts(alice: User) -> None:
    Conversation.objects.bulk_create(Conversation(owner=alice, title=f"{n}") for n in range(45))
    deletion.delete(alice, Conversation.objects.all())
    age(settings.UNDO_MINUTES + 2)
    assert deletion.purge() == 45
    assert not Conversation.with_deleted.exists()


@pytest.mark.django_db(transaction=True)
def test_a_running_answer_is_stopped(
    alice: User, thread: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[uuid.UUID] = []
    monkeypatch.setattr("chatsite.chat.signals.cancel", stopped.append)
    answer = Message.objects.get(id=thread.active_leaf_id)
    answer.state = Message.State.RUNNING
    answer.save()
    deletion.delete(alice, Conversation.objects.filter(id=thread.id))
    assert stopped == [answer.request_id]


def test_a_person_who_goes_takes_deleted_conversations_along(deleted: object, alice: User) -> None:
    alice.delete()
    assert not Conversation.with_deleted.exists()


def test_conversations_come_compressed(alice: User, client: Client, thread: Conversation) -> None:
    Message.objects.filter(conversation=thread).update(text="long " * 2000)
    client.force_login(alice)
    for url in (f"/conversations/{thread.id}/", f"/conversations/{thread.id}/?of=again"):
        reply = client.get(url, headers={"Accept-Encoding": "gzip"})
        assert reply["Content-Encoding"] == "gzip"
        assert len(reply.content) < 2000
