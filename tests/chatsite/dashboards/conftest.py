"""Alice owns, Bob is the other user, Charlie is staff without permission, Dana the admin."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from chatsite.accounts.models import User


@pytest.fixture(autouse=True)
def _no_figures_of_the_test_before():
    cache.clear()


def person(username: str, **rights: bool) -> User:
    return User.objects.create_user(username, **rights)  # no password: hashing is slow


@pytest.fixture
def alice(db) -> User:
    return person("alice")


@pytest.fixture
def bob(db) -> User:
    return person("bob")


@pytest.fixture
def charlie(db) -> User:
    return person("charlie", is_staff=True)


@pytest.fixture
def dana(db) -> User:
    return person("dana", is_staff=True, is_superuser=True)


@pytest.fixture
def signed_in():
    """A client in which that person is signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in
