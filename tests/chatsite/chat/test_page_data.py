"""What the chat's page is told when it is made."""

from __future__ import annotations

from typing import Any

import pytest

from chatsite.accounts.models import User
from chatsite.chat.page_data import page_data
from inference.contract import CloseCode, FinishReason

pytestmark = pytest.mark.django_db


def test_the_page_gets_codes_and_limits_as_data(alice: User, catalog: Any) -> None:
    data = page_data(alice, None)
    assert data["close_codes"]["signed_out"] == CloseCode.SIGNED_OUT
    assert len(data["close_codes"]) == len(CloseCode)
    assert set(data["continuable"]) == set(FinishReason) - {FinishReason.STOP}
    assert data["limits"] == {"text_chars": 200_000, "title_chars": 120}
    assert [m["slug"] for m in data["models"] if m["is_default"]] == [catalog.slug]
