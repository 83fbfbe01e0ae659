"""Coming in and going out: what a person sees, and what somebody who guesses sees."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from axes.models import AccessAttempt
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
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.1")]
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
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.1")] if behind_tls else []
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
    assert client.get("/admin/", follow=True).status_code == 404
    client.force_login(dana)
    assert client.get("/admin/login/?next=/admin/", follow=True).status_code == 200


def test_one_address_can_not_try_every_name(client: Client, alice: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT, settings.SIGN_IN_TRIES_PER_ADDRESS = 3, 6
    answers = [try_password(client, f"name{n}", "guess").status_code for n in range(8)]
    assert answers == [200] * 5 + [429] * 3
    assert try_password(client, "alice", PASSWORD).status_code == 429


def test_many_addresses_can_not_try_one_name(client: Client, alice: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT, settings.SIGN_IN_TRIES_PER_NAME = 3, 6
    answers = []
    for n in range(8):
        settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.1")]
        page = try_password(client, "alice", "guess", x_forwarded_for=f"203.0.113.{n}")
        answers.append(page.status_code)
    assert answers == [200] * 5 + [429] * 3
    User.objects.create_user("bob", password=PASSWORD)
    assert try_password(Client(), "bob", PASSWORD).status_code == 302


def test_signing_in_oneself_does_not_forgive_what_was_tried_with_other_names(
    client: Client, alice: User, settings: Any
) -> None:
    settings.AXES_FAILURE_LIMIT, settings.SIGN_IN_TRIES_PER_ADDRESS = 3, 6
    for n in range(5):
        try_password(client, f"name{n}", "guess")
    assert try_password(client, "alice", PASSWORD).status_code == 302
    assert try_password(Client(), "name9", "guess").status_code == 429


def test_old_passwords_can_not_be_tried_without_end(
    client: Client, alice: User, settings: Any
) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    client.force_login(alice)
    new = "another long pass phrase"

    def change(old: str) -> int:
        form = {"old_password": old, "new_password1": new, "new_password2": new}
        return client.post("/accounts/password/", form).status_code

    assert [change("guess") for _ in range(4)] == [200, 200, 429, 429]
    assert change(PASSWORD) == 429, "the right one is no way round"
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)
    kept = str(list(AccessAttempt.objects.values()))
    assert "guess" not in kept, "no password is stored, right or wrong"
    assert new not in kept


def test_the_log_names_the_address_and_only_names_that_exist(
    client: Client, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    try_password(client, "alice", "guess")
    try_password(client, "my secret pass phrase", "guess")
    told = [r.getMessage() for r in caplog.records if r.name == "chatsite.sign_in"]
    assert told == [
        "sign-in refused: address 127.0.0.1, name 'alice'",
        "sign-in refused: address 127.0.0.1, a name that isn't known",
    ]
    assert "my secret" not in caplog.text


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("203.0.113.5", "198.51.100.7", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("", "198.51.100.7", "198.51.100.7"),
    ],
)
def test_only_trusted_proxies_are_believed(
    settings: Any, peer: str, header: str, address: str
) -> None:
    """Whoever reaches the port directly could name a new address with each try."""
    settings.BEHIND_TLS = True
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/24")]
    request = RequestFactory().get("/", headers={"X-Forwarded-For": header}, REMOTE_ADDR=peer)
    assert client_address(request) == address
