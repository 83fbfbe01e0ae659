"""People are deleted with all that is theirs, by whoever may."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("live_redis")]
PEOPLE = "/admin/accounts/user/"


@pytest.fixture
def alice() -> User:
    alice = User.objects.create_user("alice")
    conversation = Conversation.objects.create(owner=alice, title="Nobody's business")
    Message.objects.create(conversation=conversation, role="user", text="Hush", author=alice)
    return alice


@pytest.fixture
def staff(client: Client) -> Client:
    """Somebody who looks after people, and is no administrator."""
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__model="user"))
    client.force_login(user)
    return client


def test_staff_delete_a_person_with_conversations_without_reading_their_titles(
    staff: Client, alice: User
) -> None:
    asked = staff.get(f"{PEOPLE}{alice.pk}/delete/").content.decode()
    assert "Are you sure" in asked
    assert "Nobody&#x27;s business" not in asked
    staff.post(f"{PEOPLE}{alice.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=alice.pk).exists()
    assert Conversation.objects.count() == Message.objects.count() == 0


def test_staff_cannot_delete_an_administrator_among_others(staff: Client, alice: User) -> None:
    root = User.objects.create_superuser("root")
    chosen = {
        "action": "delete_selected",
        "_selected_action": [alice.pk, root.pk],
        "post": "yes",
    }
    assert staff.post(PEOPLE, chosen).status_code == 403
    assert User.objects.filter(pk__in=[alice.pk, root.pk]).count() == 2
