"""Keys: shown once, stored hashed, revoked by their owner alone."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.api.access.api_keys import MAX_KEYS, key_of, make_key, revoke_key
from chatsite.api.error_responses import ApiError
from chatsite.api.models import ApiKey
from chatsite.errors import ChatError, NotFound

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password="a long pass phrase")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob", password="a long pass phrase")


def refusal(authorization: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        key_of(authorization)
    assert caught.value.status == 401
    return caught.value


def test_a_key_opens_and_is_not_stored(alice):
    key, secret = make_key(alice, name="script")
    assert key_of(f"Bearer {secret}") == key
    assert key_of(f"bearer  {secret}").owner == alice
    row = ApiKey.objects.values().get()
    assert secret not in str(row)
    assert secret.startswith(row["prefix"])


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "sk-chat-abc"])
def test_without_a_key_nothing_opens(header, alice):
    assert "didn't provide an API key" in refusal(header).message


def test_a_wrong_key_is_not_repeated_in_full(alice):
    wrong = "sk-chat-" + "x" * 40 + "tail"
    error = refusal(f"Bearer {wrong}")
    assert error.code == "invalid_api_key"
    assert wrong not in error.message


def test_a_revoked_key_is_useless_at_once(alice):
    key, secret = make_key(alice)
    revoke_key(alice, key.pk)
    assert refusal(f"Bearer {secret}").code == "invalid_api_key"


def test_bob_cannot_revoke_alices_key(alice, bob):
    key, secret = make_key(alice)
    with pytest.raises(NotFound):
        revoke_key(bob, key.pk)
    assert key_of(f"Bearer {secret}")


def test_an_expired_key_says_so(alice):
    _, secret = make_key(alice, expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert refusal(f"Bearer {secret}").code == "expired_api_key"


def test_a_deactivated_owners_key_is_useless(alice):
    _, secret = make_key(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    refusal(f"Bearer {secret}")


def test_last_use_is_written_at_most_once_a_minute(alice, django_assert_num_queries):
    _, secret = make_key(alice)
    with django_assert_num_queries(2):
        key_of(f"Bearer {secret}")
    with django_assert_num_queries(1):
        key_of(f"Bearer {secret}")
    assert ApiKey.objects.get().last_used_at is not None


def test_keys_per_person_are_bounded(alice):
    for _ in range(MAX_KEYS):
        make_key(alice)
    with pytest.raises(ChatError):
        make_key(alice)


def test_the_command_prints_a_key_that_opens(alice):
    out = io.StringIO()
    call_command("apikey", "alice", name="cron", stdout=out)
    assert key_of(f"Bearer {out.getvalue().strip()}").name == "cron"


def test_the_command_names_an_unknown_user(db):
    with pytest.raises(CommandError, match="nobody"):
        call_command("apikey", "nobody")


# --- the page in the settings ---


def test_the_page_shows_a_new_key_once(alice, client):
    client.force_login(alice)
    made = client.post("/settings/keys/", {"name": "laptop"})
    assert made.status_code == 302  # so that a reload makes no second key
    assert made.cookies["made-key"]["httponly"]
    shown = client.get(made["Location"]).content.decode()
    key = ApiKey.objects.get()
    secret = shown.split('class="keys-secret" readonly value="')[1].split('"')[0]
    assert key_of(f"Bearer {secret}") == key
    assert secret not in client.get("/settings/keys/").content.decode()
    assert ApiKey.objects.count() == 1


def test_the_page_lists_own_keys_only(alice, bob, client):
    make_key(alice, name="alices own")
    client.force_login(bob)
    assert "alices own" not in client.get("/settings/keys/").content.decode()


def test_the_page_names_a_wrong_limit(alice, client):
    client.force_login(alice)
    reply = client.post("/settings/keys/", {"name": "x", "requests_per_minute": "0"})
    assert reply.status_code == 400
    assert not ApiKey.objects.exists()


def test_revoking_on_the_page(alice, bob, client):
    key, _ = make_key(alice)
    client.force_login(bob)
    assert client.post(f"/settings/keys/{key.pk}/revoke/").status_code == 404
    client.force_login(alice)
    assert client.get(f"/settings/keys/{key.pk}/revoke/").status_code == 405
    client.post(f"/settings/keys/{key.pk}/revoke/")
    assert not ApiKey.objects.get().is_usable


def test_strangers_are_sent_to_sign_in(client, db):
    assert client.get("/settings/keys/").status_code == 302
