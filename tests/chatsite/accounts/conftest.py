"""Alice can sign in."""

from __future__ import annotations

import pytest

from chatsite.accounts.models import User
from tests.support.page import PASSWORD


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password=PASSWORD)
