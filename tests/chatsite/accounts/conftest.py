"""Alice is a person, Charlie is staff, Dana the administrator."""

from __future__ import annotations

import pytest

from chatsite.accounts.models import User

PASSWORD = "a long pass phrase"


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def charlie(db: None) -> User:
    return User.objects.create_user("charlie", is_staff=True)


@pytest.fixture
def dana(db: None) -> User:
    return User.objects.create_user("dana", is_staff=True, is_superuser=True)
