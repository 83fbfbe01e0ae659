"""One-time links: who gets in by them, as what, and how often."""

from __future__ import annotations

import datetime as dt
import re
import threading
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import timezone

from chatsite.accounts.invitations import first_administrator_link, invite, link_of, redeem
from chatsite.accounts.models import Invitation, User

SITE = "http://testserver/"
PASSWORD = "a long pass phrase"


def form(name: str) -> dict[str, str]:
    return {"username": name, "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture
def link(db: None) -> str:
    _, secret = invite(note="Eve")
    return link_of(secret, SITE)


def test_a_link_makes_one_account_and_signs_it_in(client: Client, link: str) -> None:
    assert client.get(link).status_code == 200
    assert client.post(link, form("eve")).headers["Location"] == "/"
    assert client.get("/accounts/password/").status_code == 200
    eve = User.objects.get(username="eve")
    assert not eve.is_staff
    assert not eve.is_superuser
    assert Invitation.objects.get().used_by == eve

    second = Client().post(link, form("mallory"))
    assert second.status_code == 410
    assert "used already" in second.content.decode()
    assert not User.objects.filter(username="mallory").exists()


def test_a_link_is_good_for_a_while_only(client: Client, link: str) -> None:
    Invitation.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert client.get(link).status_code == 410
    assert client.post(link, form("eve")).status_code == 410


def test_a_made_up_link_opens_nothing(client: Client, link: str) -> None:
    assert client.get("/accounts/invitation/AAAA/").status_code == 410


def test_a_mistake_in_the_form_costs_no_link(client: Client, link: str) -> None:
    assert client.post(link, form("eve") | {"password2": "x"}).status_code == 200
    User.objects.create_user("Eve")
    assert "already exists" in client.post(link, form("eve")).content.decode()
    assert client.post(link, form("evelyn")).status_code == 302


def test_the_database_does_not_know_the_secret(db: None) -> None:
    made, secret = invite()
    row = Invitation.objects.filter(pk=made.pk).values().get()
    assert secret not in str(row)
    assert len(secret) >= 43, "256 bits"


def test_the_first_administrator_comes_by_the_printed_link(client: Client, db: None) -> None:
    printed = first_administrator_link(SITE)
    assert printed is not None
    assert "administer the site" in client.get(printed).content.decode()
    client.post(printed, form("dana"))
    assert User.objects.get(username="dana").is_superuser
    assert client.get("/admin/").status_code == 200
    assert first_administrator_link(SITE) is None, "there is one"
    assert Client().get(printed).status_code == 410


def test_a_later_start_prints_another_link_and_ends_the_one_before(
    client: Client, db: None
) -> None:
    first = first_administrator_link(SITE)
    second = first_administrator_link(SITE)
    assert first is not None
    assert second is not None
    assert client.get(first).status_code == 410
    assert client.get(second).status_code == 200


def test_who_signs_up_first_is_no_administrator(client: Client, settings: Any, db: None) -> None:
    settings.SIGN_UP = "open"
    assert client.post("/accounts/sign-up/", form("quick")).status_code == 302
    quick = User.objects.get(username="quick")
    assert (quick.is_staff, quick.is_superuser) == (False, False)
    assert client.get("/admin/").status_code == 404


@pytest.mark.parametrize("sign_up", ["invitation", "closed"])
def test_sign_up_is_closed_to_strangers(
    client: Client, settings: Any, link: str, sign_up: str
) -> None:
    settings.SIGN_UP = sign_up
    assert client.get("/accounts/sign-up/").status_code == 403
    assert client.post("/accounts/sign-up/", form("mallory")).status_code == 403
    assert not User.objects.exists()
    assert "Make an account" not in client.get("/accounts/sign-in/").content.decode()
    assert client.post(link, form("eve")).status_code == 302, "an invitation still counts"


@pytest.mark.django_db(transaction=True)
def test_a_link_used_twice_at_once_makes_one_account() -> None:
    _, secret = invite()
    made: list[bool] = []
    start = threading.Barrier(4)

    def use(name: str) -> None:
        start.wait()
        try:
            made.append(redeem(secret, User(username=name)))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=use, args=(f"eve{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]
    assert User.objects.count() == 1


def test_the_command_prints_a_link_that_works(client: Client, db: None) -> None:
    out = StringIO()
    call_command("invite", note="Eve", url=SITE, stdout=out)
    assert client.post(out.getvalue().strip(), form("eve")).status_code == 302


def test_an_administrator_invites_in_the_admin(client: Client, dana: User) -> None:
    client.force_login(dana)
    form_of_dana = {"note": "Eve", "makes_administrator": "on"}
    page = client.post("/admin/accounts/invitation/add/", form_of_dana, follow=True)
    link = re.search(r"http://testserver/accounts/invitation/[\w-]+/", page.content.decode())
    assert link is not None
    assert Invitation.objects.get().created_by == dana
    Client().post(link.group(), form("eve"))
    assert User.objects.get(username="eve").is_superuser


def test_staff_can_make_nobody_an_administrator(client: Client, charlie: User, dana: User) -> None:
    kinds = ("add_invitation", "view_invitation", "change_user", "view_user")
    charlie.user_permissions.set(Permission.objects.filter(codename__in=kinds))
    client.force_login(charlie)
    asked = {"note": "Eve", "makes_administrator": "on"}
    client.post("/admin/accounts/invitation/add/", asked)
    assert not Invitation.objects.get().makes_administrator

    own = f"/admin/accounts/user/{charlie.pk}/change/"
    client.post(own, {"username": "charlie", "is_superuser": "on", "is_active": "on"})
    charlie.refresh_from_db()
    assert not charlie.is_superuser
    assert client.post(f"/admin/accounts/user/{dana.pk}/password/", {}).status_code == 403
