"""Coming in and going out: what a person sees, and what somebody who guesses sees."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, RequestFactory

from chatsite.accounts.addresses import client_address
from chatsite.accounts.models import User
from tests.support.page import PASSWORD

SIGN_IN = "/accounts/sign-in/"


def try_password(client: Client, name: str, password: str, **headers: str) -> Any:
    return client.post(SIGN_IN, {"username": name, "password": password}, headers=headers)


def is_in(client: Client) -> bool:
    return client.get("/accounts/password/").status_code == 200


def test_alice_signs_in_and_out(client: Client, alice: User) -> None:
    assert not is_in(client)
    assert try_password(client, "alice", PASSWORD).headers["Location"] == "/"
    assert is_in(client)
    assert client.get("/accounts/sign-out/").status_code == 405, "a link must not sign anybody out"
    assert is_in(client)
    client.post("/accounts/sign-out/")
    assert not is_in(client)


def test_passwords_are_kept_by_argon2(alice: User) -> None:
    assert alice.password.startswith("argon2$argon2id$")


def test_sign_in_leads_to_no_other_site(client: Client, alice: User) -> None:
    form = {"username": "alice", "password": PASSWORD, "next": "https://evil.example/"}
    assert client.post(SIGN_IN, form).headers["Location"] == "/"


def test_an_unknown_name_is_answered_like_a_wrong_password(client: Client, alice: User) -> None:
    def errors(name: str) -> str:
        return str(try_password(client, name, "guess").context["form"].errors)

    assert errors("alice") == errors("nobody")


def test_guessing_is_stopped_and_stops_nobody_else(
    client: Client, alice: User, settings: Any
) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    User.objects.create_user("bob", password=PASSWORD)
    answers = [try_password(client, "alice", "guess").status_code for _ in range(4)]
    assert answers == [200, 200, 429, 429]
    stopped = try_password(client, "alice", PASSWORD)
    assert stopped.status_code == 429, "the right password is no way round"
    assert "Too many tries" in stopped.content.decode()
    assert try_password(Client(), "bob", PASSWORD).status_code == 302


def test_behind_a_proxy_guessing_from_elsewhere_locks_nobody_out(
    client: Client, alice: User, settings: Any
) -> None:
    settings.AXES_FAILURE_LIMIT = 2
    settings.BEHIND_TLS = True
    for _ in range(3):
        try_password(client, "alice", "guess", x_forwarded_for="203.0.113.9")
    assert try_password(client, "alice", PASSWORD, x_forwarded_for="203.0.113.9").status_code == 429
    assert (
        try_password(client, "alice", PASSWORD, x_forwarded_for="198.51.100.7").status_code == 302
    )


@pytest.mark.parametrize(
    ("behind_tls", "header", "address"),
    [
        (False, "198.51.100.7", "127.0.0.1"),
        (True, "198.51.100.7", "198.51.100.7"),
        (True, "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (True, "2001:db8::7", "2001:db8::7"),
        (True, "", "127.0.0.1"),
        (True, "'; drop table", "127.0.0.1"),
    ],
)
def test_only_what_the_proxy_wrote_counts_as_an_address(
    settings: Any, behind_tls: bool, header: str, address: str
) -> None:
    settings.BEHIND_TLS = behind_tls
    request = RequestFactory().get("/", headers={"X-Forwarded-For": header})
    assert client_address(request) == address


def test_a_new_password_ends_the_other_sessions(client: Client, alice: User) -> None:
    elsewhere = Client()
    client.force_login(alice)
    elsewhere.force_login(alice)
    new = "another long pass phrase"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert client.post("/accounts/password/", form).status_code == 302
    assert is_in(client)
    assert not is_in(elsewhere)
    alice.refresh_from_db()
    assert alice.check_password(new)


def test_a_weak_password_is_refused_with_the_reason(client: Client, alice: User) -> None:
    client.force_login(alice)
    form = {"old_password": PASSWORD, "new_password1": "alice", "new_password2": "alice"}
    page = client.post("/accounts/password/", form).content.decode()
    assert "too short" in page
    assert "too similar to the username" in page


def test_the_admin_has_no_door_of_its_own(client: Client, alice: User, dana: User) -> None:
    page = client.get("/admin/", follow=True)
    assert page.redirect_chain[-1][0] == "/accounts/sign-in/?next=/admin/"
    client.force_login(alice)
    assert client.get("/admin/", follow=True).status_code == 403
    client.force_login(dana)
    assert client.get("/admin/login/?next=/admin/", follow=True).status_code == 200
