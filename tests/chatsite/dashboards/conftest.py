"""Clients that are signed in, and no figures left of the test before."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from chatsite.accounts.models import User


@pytest.fixture(autouse=True)
def _no_figures_of_the_test_before():
    cache.clear()


@pytest.fixture
def signed_in():
    """A client in which that person is signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in
