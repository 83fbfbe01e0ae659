"""A key's quota is counted from the records, to the request."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.db import connection
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.api.access.api_keys import make_key
from chatsite.api.access.quotas import check_quota, check_unfinished, under_way
from chatsite.api.error_responses import ApiError
from chatsite.generation.models import Generation

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


def used(key, *, seconds_ago: float = 1, tokens: int = 10, state: str = "stop", **more) -> None:
    Generation.objects.create(
        request_id=uuid.uuid4(),
        source="api",
        state=state,
        user_id=key.owner_id,
        model_slug="m",
        api_key=key.prefix,
        received_at=timezone.now() - dt.timedelta(seconds=seconds_ago),
        **({"prompt_tokens": tokens - 1, "completion_tokens": 1} | more),
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
    with pytest.raises(ApiError) as caught:
        check_quota(key, requests=3)
    assert (caught.value.status, caught.value.param) == (400, "n")
    assert "2 requests a minute" in caught.value.message
    with pytest.raises(ApiError) as caught:
        check_quota(key, requests=3, param="prompt")
    assert caught.value.param == "prompt"


def test_tokens_per_day(alice):
    key, _ = make_key(alice, tokens_per_day=15)
    used(key, tokens=10)
    assert check_quota(key, requests=1)["x-ratelimit-remaining-tokens"] == "5"
    used(key, tokens=10)
    assert 1 <= int(refusal(key).headers["Retry-After"]) <= 86_400


def test_what_is_under_way_counts_as_far_as_it_may_come(alice):
    key, _ = make_key(alice, tokens_per_day=100)
    running = {"prompt_tokens": 10, "completion_tokens": None, "sampling": {"max_tokens": 50}}
    used(key, state="running", **running)
    assert check_quota(key, requests=1)["x-ratelimit-remaining-tokens"] == "40"
    used(key, state="queued", **running)
    refused = refusal(key)
    assert "under way" in refused.message
    assert int(refused.headers["Retry-After"]) <= 5  # not at midnight: they may need less
    Generation.objects.filter(state="queued").update(state="length", completion_tokens=1)
    assert check_quota(key, requests=1)["x-ratelimit-remaining-tokens"] == "29"


def test_all_keys_of_an_owner_share_what_may_be_under_way(alice, settings):
    settings.API_MAX_UNFINISHED = 3
    one, _ = make_key(alice)
    other, _ = make_key(alice)
    bobs, _ = make_key(User.objects.create_user("bob"))
    check_unfinished(one, requests=3)
    for state in ("queued", "running", "stop", "failed"):
        used(one, state=state)
    check_unfinished(other, requests=1)
    check_unfinished(bobs, requests=3)
    with pytest.raises(ApiError) as caught:
        check_unfinished(other, requests=2)
    assert caught.value.status == 429
    assert int(caught.value.headers["Retry-After"]) >= 1
    with pytest.raises(ApiError) as caught:
        check_unfinished(bobs, requests=4)
    assert (caught.value.status, caught.value.param) == (400, "n")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases keep statistics")
def test_counting_what_is_under_way_reads_no_more_than_that():
    assert "(state=?)" in under_way(1).explain()


def test_another_key_is_not_charged(alice):
    key, _ = make_key(alice, requests_per_minute=1)
    other, _ = make_key(alice, requests_per_minute=1)
    used(other)
    check_quota(key, requests=1)
