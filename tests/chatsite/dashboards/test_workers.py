"""The workers' page reads what workers wrote into a real Redis, and lives without it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chatsite.catalog.worker_status import workers
from inference.contract import EngineStats, FormatSpeed, WorkerSnapshot, WorkerState, to_wire
from inference.queue import keys
from tests.support.redis import RedisServer

URL = "/admin/workers/"


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from inference.queue import connection as streams_settings

    server = RedisServer(tmp_path / "r")
    server.start()
    monkeypatch.setenv("REDIS_URL", server.url)
    forget(streams_settings)
    yield server
    server.stop()
    monkeypatch.undo()
    forget(streams_settings)


def forget(module) -> None:
    """Settings and connections are kept for the life of a process."""
    for function in (module.settings, module.connect):
        getattr(function, "cache_clear", lambda: None)()


def say(server: RedisServer, name: str, *, age_s: float = 0, **values) -> None:
    now_us = time.time_ns() // 1000
    snapshot = WorkerSnapshot(
        worker=name,
        host="here",
        pid=7,
        started_us=now_us - 60_000_000,
        seen_us=now_us - int(age_s * 1e6),
        model="good-one",
        engine=EngineStats(**{"state": WorkerState.READY} | values),
    )
    client = server.client()
    client.set(keys.worker(name), to_wire(snapshot))
    client.sadd(keys.workers(), name)


def test_workers_are_shown_with_what_they_say(redis, dana, signed_in):
    say(redis, "slot-1", running=3, kv_blocks_used=12, kv_blocks_total=48, device="CPU")
    say(redis, "slot-2", state=WorkerState.LOADING, state_detail="62 %")
    say(redis, "slot-3", state=WorkerState.FAILED, state_detail="out of memory")
    page = signed_in(dana).get(URL).content.decode()
    for words in ("slot-1", "12 / 48", "loading 62 %", "out of memory", "s ago"):
        assert words in page
    assert "silent" not in page


@pytest.mark.parametrize(
    ("path", "is_open"), [("native avx2 int4", False), ("fbgemm float16", True)]
)
def test_what_serves_is_told_with_its_reason_and_openly_where_it_could_be_faster(
    redis, dana, signed_in, path, is_open
):
    reason = "no native kernels: there is no C++ compiler (Debian: apt install g++)"
    say(redis, "slot-1", device="cpu", path=path, notes=(reason,))
    page = signed_in(dana).get(URL).content.decode()
    assert "no native kernels: there is no C++ compiler (Debian: apt install g++)" in page
    assert ('<details class="choice" open>' in page) is is_open


def test_a_worker_that_fell_silent_is_marked(redis, dana, signed_in):
    say(redis, "slot-1", age_s=9)
    page = signed_in(dana).get(URL).content.decode()
    assert "silent" in page
    assert "9 s ago" in page
    assert workers().running == 0


def test_no_worker_is_a_sentence(redis, dana, signed_in):
    assert "No worker is running" in signed_in(dana).get(URL).content.decode()


def test_redis_away_is_a_sentence_on_every_page_that_asks(redis, dana, signed_in):
    redis.stop()
    client = signed_in(dana)
    for url in (URL, "/admin/", "/admin/catalog/languagemodel/1/change/"):
        began = time.monotonic()
        page = client.get(url)
        assert page.status_code == 200
        assert "Redis doesn" in page.content.decode()
        assert time.monotonic() - began < 5


def test_only_staff_with_the_permission_see_workers(redis, alice, charlie, signed_in):
    assert signed_in(charlie).get(URL).status_code == 403
    assert signed_in(alice).get(URL).status_code == 404


def test_the_first_page_leads_to_latency_and_workers(redis, dana, charlie, signed_in):
    page = signed_in(dana).get("/admin/").content.decode()
    assert 'href="/admin/latency/"' in page
    assert 'href="/admin/workers/"' in page
    page = signed_in(charlie).get("/admin/").content.decode()
    assert "/admin/latency/" not in page
    assert "/admin/workers/" not in page


def test_what_format_and_threads_were_chosen_by_is_shown(redis, dana, signed_in):
    speeds = (
        FormatSpeed(dtype="bfloat16", threads=2, one_row_us=5968.5, eight_rows_us=7283.2),
        FormatSpeed(dtype="int4", threads=2, one_row_us=2310.0, eight_rows_us=4020.0),
    )
    say(redis, "slot-1", dtype="int4", threads=2, format_speeds=speeds)
    page = signed_in(dana).get(URL).content.decode()
    rows = page[page.index("How format and threads were chosen") :].split("<tr")
    served = next(row for row in rows if "is-chosen" in row)
    for words in ("int4", "serves", "2.31 ms", "4.02 ms"):
        assert words in served
    assert "5.97 ms" in page


def test_the_best_speed_seen_is_shown_with_its_date(redis, dana, signed_in):
    seen_us = 1_795_816_000_000_000
    say(redis, "slot-1", bandwidth_bytes_s=34e9, flops_s=938e9, speed_seen_us=seen_us)
    page = signed_in(dana).get(URL).content.decode()
    row = page[page.index("best speed seen") :]
    row = row[: row.index("</tr>")]
    for words in ("34.0 GB/s", "938", "2026-11-27"):
        assert words in row
