"""Times and days are the reader's: in pages, in filters and in the search language."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation
from chatsite.server.reader_zone import COOKIE, zone_named


def at(owner: User, title: str, moment: dt.datetime) -> None:
    Conversation.objects.create(owner=owner, title=title, updated_at=moment)


@pytest.fixture
def late(alice: User, client: Client) -> Client:
    """Alice in São Paulo, who wrote at half past ten in the evening of the 25th."""
    at(alice, "Late", dt.datetime(2026, 11, 26, 1, 30, tzinfo=dt.UTC))
    client.force_login(alice)
    client.cookies[COOKIE] = "America%2FSao_Paulo"
    return client


def titles(response: object) -> list[str]:
    return [row.title for row in response.context["found"].page]  # type: ignore[attr-defined]


def test_history_shows_the_readers_clock(late: Client) -> None:
    page = late.get("/history/").content.decode()
    assert ">2026-11-25 22:30</time>" in page
    assert 'datetime="2026-11-25T22:30:00-03:00"' in page


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("after=2026-11-25&before=2026-11-25", True),
        ("after=2026-11-26", False),
        ("q=on:2026-11-25", True),
        ("q=on:2026-11-26", False),
        ("q=before:2026-11-26", True),
        ("q=after:2026-11-26", False),
    ],
)
def test_filters_mean_the_readers_days(late: Client, query: str, is_found: bool) -> None:
    assert titles(late.get(f"/history/?{query}")) == (["Late"] if is_found else [])


def test_the_sidebars_search_means_the_same_days(late: Client) -> None:
    assert len(late.get("/conversations/?q=on:2026-11-25").json()["items"]) == 1
    assert late.get("/conversations/?q=on:2026-11-26").json()["items"] == []


def test_a_day_of_23_hours_ends_where_the_next_begins(alice: User, client: Client) -> None:
    zone = ZoneInfo("America/New_York")  # summer time began on 8 March 2026
    client.force_login(alice)
    client.cookies[COOKIE] = "America%2FNew_York"
    at(alice, "First minute", dt.datetime(2026, 3, 8, 0, 0, tzinfo=zone))
    at(alice, "Last minute", dt.datetime(2026, 3, 8, 23, 59, tzinfo=zone))
    at(alice, "Next day", dt.datetime(2026, 3, 9, 0, 0, tzinfo=zone))
    assert titles(client.get("/history/?q=on:2026-03-08")) == ["Last minute", "First minute"]


@pytest.mark.parametrize(
    "cookie", ["", "Mars%2FOlympus", "..%2F..%2Fetc%2Fpasswd", "%00", "x" * 500]
)
def test_a_cookie_that_names_no_zone_leaves_utc(alice: User, client: Client, cookie: str) -> None:
    at(alice, "Late", dt.datetime(2026, 11, 26, 1, 30, tzinfo=dt.UTC))
    client.force_login(alice)
    client.cookies[COOKIE] = cookie
    assert ">2026-11-26 01:30</time>" in client.get("/history/").content.decode()


@given(st.text(max_size=80))
def test_any_name_is_a_zone_or_none(name: str) -> None:
    zone = zone_named(name)
    assert zone is None or zone.key == name
