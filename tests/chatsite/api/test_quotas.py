"""A key's quota is counted from the records, to the request."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.api.errors import ApiError
from chatsite.api.keys import make_key
from chatsite.api.quotas import check_quota
from chatsite.metrics.models import Generation

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


def used(key, *, seconds_ago: float = 1, tokens: int = 10) -> None:
    Generation.objects.create(
        request_id=uuid.uuid4(),
        source="api",
        model_slug="m",
        api_key=key.prefix,
        received_at=timezone.now() - dt.timedelta(seconds=seconds_ago),
        prompt_tokens=tokens - 1,
        completion_tokens=1,
    )


def refusal(key, requests: int = 1) -> ApiError:
    with pytest.raises(ApiError) as caught:
        check_quota(key, requests=requests)
    assert caught.value.status == 429
    return caught.value


def test_a_key_without_limits_asks_nothing(alice, django_assert_num_queries):
    key, _ = make_key(alice)
    with django_assert_num_queries(0):
        assert check_quota(key, requests=100) == {}


def test_requests_per_minute(alice):
    key, _ = make_key(alice, requests_per_minute=2)
    assert check_quota(key, requests=2)["x-ratelimit-remaining-requests"] == "0"
    used(key, seconds_ago=40)
    used(key, seconds_ago=10)
    assert refusal(key).headers["Retry-After"] in ("20", "19")
    assert refusal(key, 2).headers["Retry-After"] in ("50", "49")


def test_what_was_used_a_minute_ago_is_forgiven(alice):
    key, _ = make_key(alice, requests_per_minute=1)
    used(key, seconds_ago=61)
    check_quota(key, requests=1)


def test_more_choices_than_a_minute_allows_are_never_served(alice):
    key, _ = make_key(alice, requests_per_minute=2)
    assert "2 requests a minute" in refusal(key, 3).message


def test_tokens_per_day(alice):
    key, _ = make_key(alice, tokens_per_day=15)
    used(key, tokens=10)
    assert check_quota(key, requests=1)["x-ratelimit-remaining-tokens"] == "5"
    used(key, tokens=10)
    assert 1 <= int(refusal(key).headers["Retry-After"]) <= 86_400


def test_another_key_is_not_charged(alice):
    key, _ = make_key(alice, requests_per_minute=1)
    other, _ = make_key(alice, requests_per_minute=1)
    used(other)
    check_quota(key, requests=1)
