"""Format and threads are chosen by what was measured on this CPU, which is kept."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from inference.contract import FormatSpeed
from inference.engine.kept_measurements import FILE
from inference.engine.native import format_speed as formats


def speed(dtype: str, one_row_us: float, eight_rows_us: float, threads: int = 2) -> FormatSpeed:
    return FormatSpeed(
        dtype=dtype, threads=threads, one_row_us=one_row_us, eight_rows_us=eight_rows_us
    )


def test_the_fastest_comes_first_and_of_equals_the_most_exact() -> None:
    found = [speed("bfloat16", 9, 10), speed("int8", 5.0, 7.0), speed("int4", 4.9, 6.8)]
    assert formats.by_speed(found) == ["int8", "int4", "bfloat16"]
    found[2] = speed("int4", 3, 6)
    assert formats.by_speed(found) == ["int4", "int8", "bfloat16"]


@pytest.mark.parametrize(("fewer_us", "threads"), [(10.0, 4), (18.5, 8), (30.0, 8)])
def test_fewer_threads_serve_only_where_they_are_clearly_faster(fewer_us, threads) -> None:
    found = [speed("int4", 9, 10, threads=8), speed("int4", fewer_us / 2, fewer_us / 2, threads=4)]
    assert formats.best_threads(found, default=8) == threads


@pytest.mark.usefixtures("few_turns")
def test_every_candidate_is_measured_once_and_kept(kernels, folder, monkeypatch) -> None:
    quiet(monkeypatch)
    meter = formats.FormatMeter(kernels, threads=2, try_fewer=True)
    turns = 0
    while meter.measure_next():
        turns += 1
        assert torch.get_num_threads() == 2
    assert turns == 4 and meter.missing is None
    found = meter.speeds
    assert [(s.dtype, s.threads) for s in found[:3]] == [
        (dtype, 2) for dtype in ("bfloat16", "int8", "int4")
    ]
    assert found[3].threads == 1
    assert all(s.one_row_us > 0 and s.eight_rows_us > 0 for s in found)
    again = formats.FormatMeter(kernels, threads=2, try_fewer=True)
    assert again.speeds == found and not again.measure_next()
    assert formats.FormatMeter(kernels, threads=1, try_fewer=True).missing == ("bfloat16", 1)
    assert json.loads((folder / FILE).read_text())


@pytest.mark.usefixtures("few_turns")
def test_nothing_is_kept_of_what_was_measured_beside_other_work(kernels, monkeypatch) -> None:
    """Beside ten other processes BF16 on one thread once came out as the fastest of all."""
    quiet(monkeypatch)
    others = iter([0.0, 1000.0])
    monkeypatch.setattr(formats, "cpu_s_of_others", lambda: next(others))
    meter = formats.FormatMeter(kernels, threads=2, try_fewer=False)
    assert not meter.measure_next()
    assert meter.speeds == ()
    monkeypatch.setattr(formats, "is_busy", lambda threads: True)
    assert not meter.measure_next(), "it isn't even tried"


@pytest.mark.usefixtures("few_turns")
def test_an_entry_that_somebody_broke_is_measured_again(kernels, folder, monkeypatch) -> None:
    quiet(monkeypatch)
    meter = formats.FormatMeter(kernels, threads=1, try_fewer=False)
    while meter.measure_next():
        pass
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace('"us"', '"ms"', 1))
    again = formats.FormatMeter(kernels, threads=1, try_fewer=False)
    assert again.missing is not None
    assert again.measure_next() and again.missing is None


def test_the_cpu_time_of_others_is_not_ours() -> None:
    before, begin = formats.cpu_s_of_others(), time.process_time()
    while time.process_time() - begin < 0.2:
        pass
    first = formats.cpu_s_of_others() - before
    subprocess.run(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"], check=True
    )
    assert formats.cpu_s_of_others() - before > first + 0.7


def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests is busy."""
    monkeypatch.setattr(formats, "is_busy", lambda threads: False)
    monkeypatch.setattr(formats, "MOST_BY_OTHERS", 10.0)


@pytest.fixture
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SECONDS": 0.0,
        "TURNS": 1,
        "MATRICES": 1,
        "OUTPUTS": 64,
        "INPUTS": 64,
    }.items():
        monkeypatch.setattr(formats, name, value)
    monkeypatch.setattr(formats, "CACHES_BYTES", 1 << 20)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> Path:
    if "kernels" in request.fixturenames:
        request.getfixturevalue("kernels")  # built where they always are
    monkeypatch.setenv("CHATSITE_KERNELS", str(tmp_path))
    return tmp_path
