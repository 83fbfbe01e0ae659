"""The latency board: what it says, to whom, of which requests, and in how many queries."""

from __future__ import annotations

import csv
import datetime as dt
import html
import io
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.http import QueryDict
from django.test import AsyncClient
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.dashboards.latency import board, exports, filters
from chatsite.dashboards.latency.single_flight import SingleFlight
from chatsite.generation.models import Generation
from chatsite.threads import in_thread
from tests.chatsite.dashboards import rows

URL = "/admin/latency/"


def parsed(query: str) -> filters.Filters:
    return filters.parse(QueryDict(query))[0]


def store(*generations: Generation) -> None:
    Generation.objects.bulk_create(generations)


def test_board_over_no_requests_says_no_data_and_not_zero(dana, signed_in):
    page = signed_in(dana).get(URL).content.decode()
    assert page.count("no data") >= 8  # tiles, means, tables, charts
    assert "0 ms" not in page
    data = signed_in(dana).get(f"{URL}data/").json()
    assert data["totals"]["ttft_ms"]["p50"] is None
    assert data["totals"]["error_share"] is None
    assert data["totals"]["throughput_tokens_per_s"] is None
    assert all(value is None for value in data["series"]["ttft_p50_ms"])


def test_tiles_tell_the_exact_percentiles(dana, signed_in):
    store(*(rows.generation(random.Random(i), queue_us=0, prefill_us=i * 1000, ttft_us=i * 1000,
                            decode_us=0, latency_us=i * 1000) for i in range(1, 101)))  # fmt: skip
    totals = signed_in(dana).get(f"{URL}data/").json()["totals"]
    assert totals["requests"] == 100
    assert [totals["ttft_ms"][p] for p in ("p50", "p95", "p99", "max")] == [50, 95, 99, 100]
    assert totals["ttft_ms"]["p99_is_rough"] is True
    page = signed_in(dana).get(URL).content.decode()
    assert "50.0 ms" in page
    assert "≈ 99.0 ms" in page


@pytest.mark.django_db
def test_throughput_is_tokens_per_second_of_wall_time():
    store(rows.generation(tokens=90), rows.generation(random.Random(2), tokens=270))
    shown = board.show(parsed("range=1h"))
    assert shown.board.tokens_per_s == pytest.approx(360 / 3600, rel=1e-3)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("range=all", 6),
        ("range=24h", 5),
        ("range=1h", 4),
        ("range=1h&model=other", 1),
        ("range=1h&preset=greedy", 1),
        ("range=1h&source=api", 1),
        ("range=all&state=failed", 1),
        ("range=1h&model=other&preset=greedy", 0),
    ],
)
def test_filters_narrow_what_is_shown(query, found):
    now = timezone.now()
    ages = [dt.timedelta(minutes=m) for m in (1, 2, 3, 4, 600, 60 * 30)]
    kinds = [{"model_slug": "other"}, {"preset_slug": "greedy"}, {"source": "api"}, {}, {}, {}]
    for i, (age, kind) in enumerate(zip(ages, kinds, strict=True)):
        make = rows.failed if i == 5 else rows.generation
        store(make(random.Random(i), received_at=now - age, **kind))
    assert board.show(parsed(query)).board.requests == found


@pytest.mark.django_db
def test_a_stretch_of_time_of_ones_own():
    at = dt.datetime(2026, 11, 3, 12, 0, tzinfo=dt.UTC)
    store(
        rows.generation(received_at=at),
        rows.failed(random.Random(2), received_at=at + dt.timedelta(hours=2)),
    )
    wish = parsed("since=2026-11-03T11:00&until=2026-11-03T13:00:00")
    assert (wish.range, board.show(wish).board.requests) == ("custom", 1)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("until=2026-13-40", "until"),
        ("since=2026-11-03&until=2026-11-02", "until"),
        ("range=99y", "range"),
        ("state=odd", "state"),
        ("source='", "source"),
        (f"model={'m' * 64}", "model"),
    ],
)
def test_a_wrong_wish_is_told_at_its_field_and_the_rest_is_shown(dana, signed_in, query, field):
    client = signed_in(dana)
    page = client.get(f"{URL}?{query}")
    assert page.status_code == 200
    assert field in page.content.decode()
    refused = client.get(f"{URL}data/?{query}")
    assert refused.status_code == 400
    assert list(refused.json()["errors"]) == [field]
    assert client.get(f"{URL}time.csv?{query}").status_code == 400


def test_errors_are_counted_by_code(dana, signed_in):
    codes = ["expired", "expired", "bad_logits"]
    store(*(rows.failed(random.Random(i), error_code=c) for i, c in enumerate(codes)))
    store(rows.generation(random.Random(9)))
    data = signed_in(dana).get(f"{URL}data/").json()
    assert data["errors"] == [{"code": "expired", "count": 2}, {"code": "bad_logits", "count": 1}]
    assert data["totals"]["error_share"] == 0.75


def test_slowest_and_newest_open_their_request(dana, signed_in):
    slow = rows.generation(random.Random(1), tokens=400)
    new = rows.failed(random.Random(2), received_at=timezone.now())
    store(slow, new)
    data = signed_in(dana).get(f"{URL}data/").json()
    assert [r["request_id"] for r in data["slowest"]] == [str(slow.pk)]
    assert data["newest"][0]["request_id"] == str(new.pk)
    page = signed_in(dana).get(URL).content.decode()
    assert f"{URL}requests/{slow.pk}/" in page
    assert f"{URL}requests/{new.pk}/" in page


def test_csv_holds_what_is_shown(dana, signed_in):
    store(rows.generation(tokens=5), rows.failed(random.Random(2)))
    client = signed_in(dana)
    tables = {}
    for name in ("time", "models"):
        text = client.get(f"{URL}{name}.csv?range=1h").content.decode()
        tables[name] = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["requests"]) for row in tables["time"]) == 2
    assert [row["requests"] for row in tables["models"]] == ["2"]
    assert client.get(f"{URL}secrets.csv").status_code == 404


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_the_csv_of_requests_is_streamed_piece_by_piece(monkeypatch):
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 20)
    await in_thread(rows.many, 90, days=0.5)
    at = timezone.now() - dt.timedelta(minutes=1)
    for i in range(50):  # more at one moment than a piece holds
        await rows.generation(random.Random(1000 + i), received_at=at).asave(force_insert=True)
    dana = await User.objects.acreate(username="dana2", is_staff=True, is_superuser=True)
    client = AsyncClient()
    await client.aforce_login(dana)
    response = await client.get(f"{URL}requests.csv?range=24h")
    assert response.is_async
    pieces = [piece async for piece in response.streaming_content]
    assert len(pieces) == 1 + 8
    found = list(csv.DictReader(io.StringIO(b"".join(pieces).decode())))
    moments = [row["received_at"] for row in found]
    assert moments == sorted(moments, reverse=True)
    ids = {str(i) async for i in Generation.objects.values_list("pk", flat=True)}
    assert len(found) == 140 and {row["request_id"] for row in found} == ids
    ended = next(row for row in found if row["latency_ms"])
    whole = sum(float(ended[f"{p}_ms"]) for p in ("queue", "prefill", "decode", "recovery"))
    assert whole == pytest.approx(float(ended["latency_ms"]))


def test_a_wrong_value_leaves_the_charts_their_data(dana, signed_in):
    client = signed_in(dana)
    for query in (
        "range=abc",
        "since=foo&model=m",
        "since=2026-11-03&until=2026-11-02",
        "state=nope",
    ):
        page = client.get(f"{URL}?{query}").content.decode()
        url = html.unescape(re.search(r'data-url="([^"]*)"', page)[1])
        assert client.get(url).status_code == 200, query
    assert "model=m" in html.unescape(client.get(f"{URL}?since=foo&model=m").content.decode())


def test_a_range_from_the_year_one_begins_with_the_first_request(dana, signed_in):
    first = timezone.now() - dt.timedelta(days=2)
    store(rows.generation(received_at=first))
    began = time.process_time()
    data = signed_in(dana).get(f"{URL}data/?since=0001-01-01T00:00&until=9999-12-31").json()
    assert time.process_time() - began < 1
    assert data["since"] == first.isoformat()
    assert len(data["series"]["start_s"]) <= 122
    assert data["totals"]["requests"] == 1


def test_slices_that_are_not_whole_are_named(dana, signed_in):
    store(rows.generation())
    data = signed_in(dana).get(f"{URL}data/?range=1h").json()
    assert data["unfinished_s"][-1] == data["series"]["start_s"][-1]
    assert len(data["unfinished_s"]) <= 2


def test_states_are_said_in_one_vocabulary(dana, signed_in):
    store(
        rows.generation(),
        rows.generation(random.Random(2), state="length"),
        rows.failed(random.Random(3)),
    )
    page = signed_in(dana).get(URL).content.decode()
    table = page[page.index('data-live="newest"') :]
    for words in ("finished", "cut at max tokens", "failed</span> <code>expired</code>"):
        assert words in table
    assert ">stop<" not in page and ">length<" not in page
    assert rows.generation().received_at.strftime("%Y-%m-%d %H:") in table


def test_viewers_at_the_same_time_share_one_computation(monkeypatch):
    flight = SingleFlight(fresh_s=5)
    began, computed = threading.Barrier(4), []

    def compute():
        computed.append(1)
        time.sleep(0.3)
        return "board"

    def view(_):
        began.wait()
        return flight.get("a-key", compute)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(view, range(4))) == ["board"] * 4
    assert computed == [1]


def test_a_failed_computation_fails_for_all_and_is_not_kept():
    flight = SingleFlight(fresh_s=5)
    with pytest.raises(ZeroDivisionError):
        flight.get("b-key", lambda: 1 // 0)
    assert flight.get("b-key", lambda: 3) == 3


def test_an_unserved_model_is_said_on_the_board(dana, catalog, live_redis, signed_in):
    page = signed_in(dana).get(URL).content.decode()
    assert f"No worker serves {catalog.name}" in page


def test_series_leave_a_gap_where_there_was_nothing(dana, signed_in):
    store(rows.generation(received_at=timezone.now() - dt.timedelta(minutes=30)))
    series = signed_in(dana).get(f"{URL}data/?range=1h").json()["series"]
    values = series["ttft_p50_ms"]
    assert len({len(column) for column in series.values()}) == 1
    assert sum(v is not None for v in values) == 1
    assert series["requests"].count(0) == len(values) - 1


@pytest.mark.parametrize("path", ["", "data/", "time.csv"])
def test_only_staff_with_the_permission_see_it(alice, charlie, dana, signed_in, path):
    stored = rows.generation(user=alice)
    store(stored)
    url = URL + path.format(stored.pk)
    assert signed_in(dana).get(url).status_code == 200
    assert signed_in(charlie).get(url).status_code == 403
    assert signed_in(alice).get(url).status_code == 404
    assert signed_in(dana).post(url).status_code == 405


def test_board_takes_a_bounded_number_of_queries(dana, signed_in, django_assert_max_num_queries):
    rows.many(300, days=1)
    client = signed_in(dana)
    with django_assert_max_num_queries(16):  # 2 session, 5 catalogue and labels, 9 figures
        assert client.get(URL).status_code == 200
    with django_assert_max_num_queries(3):  # the figures were just told to the page
        assert client.get(f"{URL}data/").status_code == 200


def test_slices_are_at_most_120():
    for seconds in (1, 60, 3600, 86400, 30 * 86400, 365 * 86400):
        assert seconds / filters.bucket_s(seconds) <= 120
