"""The best speed ever seen is kept, and measured again while there is nothing to do."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from inference.engine import device_speed, kept_measurements
from inference.engine.device_speed import FIRST_REST_S, DeviceSpeed, SpeedMeter

from .conftest import prompt_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHATSITE_KERNELS", str(tmp_path))
    return tmp_path


def meter(*speeds: tuple[float, float], way: str = "int4, 2 threads") -> SpeedMeter:
    """One that measures these, one after the other."""
    left = list(speeds)
    return SpeedMeter(lambda: DeviceSpeed(*left.pop(0)), way=way)


def test_a_busy_moment_does_not_lower_what_was_seen_before() -> None:
    one = meter((30e9, 4e11), (8e9, 5e11))
    one.measure()
    best = one.measure()
    assert (best.bandwidth_bytes_s, best.flops_s) == (30e9, 5e11)
    assert best.seen_us > 0


def test_the_next_start_knows_the_best_of_all_before() -> None:
    meter((30e9, 4e11)).measure()
    assert meter((8e9, 1e11)).measure().bandwidth_bytes_s == 30e9
    other = meter((8e9, 1e11), way="bfloat16, 1 threads").measure()
    assert (other.bandwidth_bytes_s, other.flops_s) == (30e9, 1e11), "memory is the same for all"


def test_devices_that_work_together_are_as_fast_as_one_times_their_number() -> None:
    both = SpeedMeter(lambda: DeviceSpeed(3e12, 8e14), way="cuda bfloat16", devices=2)
    assert both.measure().bandwidth_bytes_s == 6e12
    one = SpeedMeter(lambda: DeviceSpeed(2e12, 7e14), way="cuda bfloat16")
    assert (one.measure().bandwidth_bytes_s, one.best.flops_s) == (3e12, 8e14)


@pytest.mark.parametrize("broken", ["", "[]", '{"x": 1}', "{", "machine", "entry"])
def test_a_file_that_somebody_broke_is_as_good_as_none(folder: Path, broken: str) -> None:
    name = kept_measurements.machine_name(torch.device("cpu"))
    text = {
        "machine": json.dumps({name: 5}),
        "entry": json.dumps({name: {"speeds": {"products, int4, 2 threads": {"per_s": "fast"}}}}),
    }
    (folder / kept_measurements.FILE).write_text(text.get(broken, broken))
    assert meter((30e9, 4e11)).measure().flops_s == 4e11
    assert meter((1e9, 1e11)).measure().flops_s == 4e11


def test_a_folder_that_can_not_be_written_keeps_nothing_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHATSITE_KERNELS", str(tmp_path / "file"))
    assert meter((30e9, 4e11)).measure().flops_s == 4e11


def test_it_is_measured_again_at_rest_and_ever_more_rarely() -> None:
    one = meter(*[(n * 1e9, 1e11) for n in range(1, 20)])
    one.measure()
    at = [s for s in range(1000) if one.rest(float(s))]
    assert at[0] == FIRST_REST_S
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert gaps == sorted(gaps) and gaps[-1] > 10 * gaps[0]
    assert one.best.bandwidth_bytes_s == (1 + len(at)) * 1e9


def test_work_begins_the_rest_anew() -> None:
    one = meter((1e9, 1e11), (2e9, 1e11))
    assert not one.rest(0.0)
    one.note_work()
    assert not one.rest(FIRST_REST_S + 1)
    assert one.rest(2 * FIRST_REST_S + 1)


def test_no_room_to_measure_leaves_what_is_known() -> None:
    def fail() -> DeviceSpeed:
        raise MemoryError

    one = SpeedMeter(fail)
    assert not one.rest(0.0)
    assert one.rest(FIRST_REST_S)
    assert one.best == DeviceSpeed()
    assert not one.rest(10_000.0), "it isn't tried again"


def test_an_idle_engine_finds_a_better_floor(bench, llama, monkeypatch) -> None:
    """Measured beside other work the floor was above what a request took."""
    monkeypatch.setattr(device_speed, "FIRST_REST_S", 0.05)
    monkeypatch.setattr(
        "inference.engine.backends.base.measure_speed",
        lambda *_: DeviceSpeed(*speeds.pop(0)) if speeds else DeviceSpeed(),
    )
    speeds = [(1e6, 1e9), (1e12, 1e15)]
    engine = bench(llama, measure=True, max_running=2)
    engine.listener.wait(lambda: engine.engine.status().bandwidth_bytes_s == 1e12)
    request = engine.ask(prompt_of(9), max_tokens=4)
    result = engine.listener.result(request)
    assert 0 < result.tpot_floor_us < 1000
    assert engine.engine.status().speed_seen_us > 0
