"""Someone else's id, in every URL of the chat: the same answer as for one that doesn't exist."""

from __future__ import annotations

import json
import uuid
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation

URLS = [
    ("get", "/c/{id}/", None),
    ("get", "/conversations/{id}/", None),
    ("post", "/conversations/{id}/rename/", {"title": "mine now"}),
    ("post", "/conversations/{id}/delete/", {}),
    ("post", "/conversations/{id}/leaf/", {"message": str(uuid.uuid4())}),
]


def call(client: Client, verb: str, url: str, body: object) -> tuple[int, bytes]:
    if verb == "get":
        response = client.get(url)
    else:
        response = client.post(url, json.dumps(body), content_type="application/json")
    return response.status_code, response.content


@pytest.mark.parametrize(("verb", "url", "body"), URLS)
def test_bob_cannot_tell_alices_conversation_from_one_that_does_not_exist(
    client: Client, bob: User, thread: Conversation, verb: str, url: str, body: object
) -> None:
    client.force_login(bob)
    others = call(client, verb, url.format(id=thread.id), body)
    nobodys = call(client, verb, url.format(id=uuid.uuid4()), body)
    assert others[0] == 404
    if "/conversations/" in url:
        assert others == nobodys
    thread.refresh_from_db()
    assert thread.title == "Milk and eggs"


@pytest.mark.parametrize(("verb", "url", "body"), URLS)
def test_a_stranger_is_sent_away_from_every_url(
    client: Client, thread: Conversation, verb: str, url: str, body: object
) -> None:
    status, _ = call(client, verb, url.format(id=thread.id), body)
    assert status in (302, 401)


@pytest.mark.parametrize("verb", ["get", "put", "patch", "delete", "head"])
def test_writing_urls_take_post_alone(
    client: Client, alice: User, thread: Conversation, verb: str
) -> None:
    client.force_login(alice)
    response = getattr(client, verb)(f"/conversations/{thread.id}/delete/")
    assert response.status_code == 405
    assert Conversation.objects.filter(id=thread.id).exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{", ""),
        ("[]", ""),
        ('{"title": 7}', "title"),
        ('{"title": "   "}', "title"),
        (json.dumps({"title": "x" * 121}), "title"),
        ("[" * 50_000, ""),
    ],
)
def test_a_bad_title_is_refused_by_name_and_nothing_changes(
    client: Client, alice: User, thread: Conversation, body: str, field: str
) -> None:
    client.force_login(alice)
    url = f"/conversations/{thread.id}/rename/"
    response = client.post(url, body, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["error"]["field"] == field
    thread.refresh_from_db()
    assert thread.title == "Milk and eggs"


def test_alice_finds_renames_and_deletes_her_conversation(
    client: Client, alice: User, thread: Conversation
) -> None:
    client.force_login(alice)
    (found,) = client.get("/conversations/?q=bottles").json()["items"]
    assert found["id"] == str(thread.id) and "Six bottles." in found["snippet"]
    renamed = client.post(
        f"/conversations/{thread.id}/rename/",
        json.dumps({"title": " Shopping \n list\x00 "}),
        content_type="application/json",
    ).json()
    assert renamed["conversation"]["title"] == "Shopping list\ufffd"
    client.post(f"/conversations/{thread.id}/delete/", "{}", content_type="application/json")
    left = client.get("/conversations/").json()
    assert (left["items"], left["more"]) == ([], False)
    assert left["deletion"]["title"] == "Shopping list\ufffd"


def test_a_list_takes_a_bounded_number_of_queries(
    client: Client, alice: User, thread: Conversation, django_assert_max_num_queries: object
) -> None:
    for n in range(30):
        Conversation.objects.create(owner=alice, title=f"Number {n}")
    client.force_login(alice)
    with django_assert_max_num_queries(5):  # type: ignore[operator]
        assert len(client.get("/conversations/?q=n&limit=20").json()["items"]) == 20


def test_conversations_of_the_same_moment_are_all_on_some_page(client: Client, alice: User) -> None:
    moment = timezone.now()
    made = {
        str(Conversation.objects.create(owner=alice, title=f"{n}", updated_at=moment).id)
        for n in range(7)
    }
    client.force_login(alice)
    found: list[str] = []
    query = "limit=3"
    while True:
        page = client.get(f"/conversations/?{query}").json()
        found += [item["id"] for item in page["items"]]
        if not page["more"]:
            break
        last = page["items"][-1]
        query = urlencode({"limit": 3, "before": last["updated_at"], "before_id": last["id"]})
    assert len(found) == 7
    assert set(found) == made


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=999", "limit=x", "limit=²", "before=soon", "before_id=7"]
)
def test_a_bad_query_names_its_field(client: Client, alice: User, query: str) -> None:
    client.force_login(alice)
    response = client.get(f"/conversations/?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["field"] == query.split("=")[0]
