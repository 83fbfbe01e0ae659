"""Format and threads are chosen by what was measured on this CPU, which is kept."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """In peace, whatever the machine that runs the tests does; what was measured, in order."""
    found: list[tuple[str, int]] = []

    def measure(_kernels: object, dtype: str) -> dict[str, float]:
        threads = torch.get_num_threads()
        found.append((dtype, threads))
        one_row_us = {"bfloat16": 9.0, "int8": 5.0, "int4": 3.0}[dtype] / threads
        return {"1": one_row_us, "8": 2 * one_row_us}

    monkeypatch.setattr(formats, "_measure", measure)
    monkeypatch.setattr(formats, "is_busy", lambda threads: False)
    monkeypatch.setattr(formats, "MOST_BY_OTHERS", float("inf"))
    return found


KERNELS: Any = SimpleNamespace(__file__=__file__)  # any file; its products aren't timed


def meter(threads: int = 2) -> formats.FormatMeter:
    return formats.FormatMeter(KERNELS, threads=threads, try_fewer=True)


def measure_all(one: formats.FormatMeter) -> None:
    while one.measure_next():
        pass


def test_every_candidate_is_measured_once_and_kept(measured, folder) -> None:
    torch.set_num_threads(2)
    one = meter()
    measure_all(one)
    assert measured == [("bfloat16", 2), ("int8", 2), ("int4", 2), ("int4", 1)]
    assert torch.get_num_threads() == 2
    assert [(s.dtype, s.threads, s.one_row_us) for s in one.speeds][-2:] == [
        ("int4", 2, 1.5),
        ("int4", 1, 3.0),
    ]
    assert json.loads((folder / FILE).read_text())
    again = meter()
    assert again.missing is None and again.speeds == one.speeds
    assert meter(threads=1).missing == ("bfloat16", 1), "fewer threads are another candidate"


def test_nothing_is_kept_of_what_was_measured_beside_other_work(measured, monkeypatch) -> None:
    """Beside ten other processes BF16 on one thread once came out as the fastest of all."""
    others = iter([0.0, 1000.0])
    monkeypatch.setattr(formats, "MOST_BY_OTHERS", 0.1)
    monkeypatch.setattr(formats, "cpu_s_of_others", lambda: next(others))
    assert not meter().measure_next()
    assert meter().speeds == ()
    monkeypatch.setattr(formats, "is_busy", lambda threads: True)
    assert not meter().measure_next()
    assert len(measured) == 1, "it isn't even tried"


def test_an_entry_that_somebody_broke_is_measured_again(measured, folder) -> None:
    measure_all(meter())
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace('"us"', '"ms"', 1))
    assert meter().missing == ("bfloat16", 2)
    measure_all(meter())
    assert meter().missing is None


def test_products_of_each_format_are_timed(kernels, monkeypatch) -> None:
    small = {"SECONDS": 0.0, "TURNS": 1, "MATRICES": 1, "OUTPUTS": 64, "INPUTS": 64}
    for name, value in {**small, "CACHES_BYTES": 1 << 20}.items():
        monkeypatch.setattr(formats, name, value)
    for dtype in formats.CANDIDATES:
        assert all(us > 0 for us in formats._measure(kernels, dtype).values())


def test_the_cpu_time_of_others_is_not_ours() -> None:
    before, begin = formats.cpu_s_of_others(), time.process_time()
    while time.process_time() - begin < 0.2:
        pass
    first = formats.cpu_s_of_others() - before
    subprocess.run(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"], check=True
    )
    assert formats.cpu_s_of_others() - before > first + 0.7


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> Path:
    if "kernels" in request.fixturenames:
        request.getfixturevalue("kernels")  # built where they always are
    monkeypatch.setenv("CHATSITE_KERNELS", str(tmp_path))
    return tmp_path
