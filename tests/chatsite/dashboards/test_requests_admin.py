"""The admin's list of requests stays quick whatever it is asked, and leads to the request's page."""

from __future__ import annotations

import random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatsite.generation import admin as generation_admin
from chatsite.generation.models import Generation
from chatsite.generation.stats import roll_up
from tests.chatsite.dashboards import rows

URL = "/admin/metrics/generation/"


@pytest.fixture
def stored(db):
    rows.many(160, days=2)
    rows.failed(random.Random(4242), error_code="bad_logits").save(force_insert=True)
    roll_up.roll_up()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "p=2",
        "worker=slot-1",
        "state__exact=failed",
        "q=bad_logits",
        "q=slot-1",
        "preset_slug=greedy",
        "o=8",
    ],
)
def test_nothing_is_counted_to_the_end_and_nothing_read_twice(dana, signed_in, stored, query):
    client = signed_in(dana)
    with CaptureQueriesContext(connection) as context:
        page = client.get(f"{URL}?{query}")
    assert page.status_code == 200
    asked = [q["sql"] for q in context.captured_queries if "metrics_generation" in q["sql"]]
    for sql in asked:
        assert "LIMIT" in sql or "COUNT(" not in sql, sql
        assert "DISTINCT" not in sql and "LIKE" not in sql, sql
    assert "all=" not in page.content.decode() and "Show all" not in page.content.decode()


def test_more_than_is_counted_is_said(dana, signed_in, stored, monkeypatch):
    monkeypatch.setattr(generation_admin, "MOST_COUNTED", 100)
    page = signed_in(dana).get(URL).content.decode()
    assert "100 or more" in page


@pytest.mark.parametrize("what", ["id", "hex", "subject", "code", "worker", "nobody"])
def test_one_search_finds_each(dana, signed_in, stored, what):
    wanted = Generation.objects.get(
        error_code="bad_logits", request_id=rows.failed(random.Random(4242)).pk
    )
    Generation.objects.filter(pk=wanted.pk).update(subject=wanted.pk, worker="odd worker")
    term = {"id": str(wanted.pk), "hex": wanted.pk.hex, "subject": str(wanted.pk), "code": "bad_logits",
            "worker": "odd worker", "nobody": "nobody"}[what]  # fmt: skip
    page = signed_in(dana).get(URL, {"q": term}).content.decode()
    assert (f"/{wanted.pk}/change/" in page) == (what != "nobody")


def test_dates_are_written_with_their_zone(dana, signed_in, stored):
    page = signed_in(dana).get(URL).content.decode()
    at = Generation.objects.order_by("-received_at").first().received_at
    assert at.strftime("%Y-%m-%d %H:%M:%S UTC") in page
