"""What bench/gpu.sh does around its sections: time, partial records, floors; and one real run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import gpu
from bench.shapes import SHAPES

ROOT = Path(__file__).resolve().parents[2]
ROW = {
    "streams": 8,
    "ttft_ms": {"p50": 20.0, "p99": 30.0},
    "tpot_ms": {"p50": 10.0, "p99": 12.0},
    "tokens_per_s": 700.0,
    "decode_tokens_per_s": 800.0,
}
PEAKS = {"device": "a GPU", "bandwidth_bytes_s": 3e12, "flops_s": 800e12}
ABOUT = {
    "weight_bytes": 15e9,
    "kv_bytes_per_token": 57_344,
    "flops_per_token": 15e9,
    "prompt_tokens": 128,
    "max_tokens": 128,
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run sections whose script is the given one; returns the record and what was printed."""

    def run(script: str, **options: str) -> tuple[dict[str, Any], str]:
        path = tmp_path / "sections.py"
        path.write_text("import json, os, sys, time\npart = sys.argv[1]\n" + script)
        monkeypatch.setattr(gpu, "SECTIONS", path)
        monkeypatch.setattr(gpu, "GOODBYE_S", 0.5)
        given = {"--out": str(tmp_path), "--only": "peaks,engine,generate", **options}
        gpu.main([word for pair in given.items() for word in pair])
        return json.loads((tmp_path / "gpu.json").read_text()), capsys.readouterr().out

    return run


def say(**found: Any) -> str:
    return f"print({json.dumps(json.dumps(found))}, flush=True)"


def test_a_section_that_fails_ends_alone_and_says_why(run):
    record, printed = run(
        f"""
if part == "peaks": {say(peaks=PEAKS)}
elif part == "engine": {say(about=ABOUT)}; {say(row=ROW)}; sys.exit("no kernel for this device")
else: {say(about=ABOUT)}; {say(row=ROW)}
"""
    )
    states = {section["name"]: section for section in record["sections"]}
    failed = states["engine qwen2.5-7b bfloat16"]
    assert failed["state"] == "failed"
    assert "no kernel for this device" in failed["error"]
    assert failed["rows"][0]["tokens_per_s"] == 700.0, "what it had measured is kept"
    assert states["generate qwen2.5-7b bfloat16"]["state"] == "done"
    assert "no kernel for this device" in printed


def test_a_section_that_hangs_is_ended_with_all_it_started(run, tmp_path):
    child = tmp_path / "child"
    begin = time.monotonic()
    record, _ = run(
        f"""
import subprocess
if part == "peaks":
    {say(peaks=PEAKS)}
    open({str(child)!r}, "w").write(str(subprocess.Popen(["sleep", "600"]).pid))
    time.sleep(600)
""",
        **{"--budget": "4", "--only": "peaks,engine"},
    )
    assert time.monotonic() - begin < 6
    states = [section["state"] for section in record["sections"]]
    assert states[0] == "timed out"
    assert set(states[1:]) == {"skipped"}, "no time was left"
    assert record["peaks"]["device"] == "a GPU"
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(child.read_text())).status() == psutil.STATUS_ZOMBIE


def test_the_floor_is_the_larger_of_reading_and_multiplying():
    few = gpu.with_floor(ROW, ABOUT, PEAKS)
    read_ms = (15e9 + 8 * 192 * 57_344) / 3e12 * 1e3
    assert few["tpot_floor_ms"] == pytest.approx(read_ms, abs=1e-3)
    assert few["of_floor"] == pytest.approx(read_ms / 10, abs=1e-3)
    many = gpu.with_floor({**ROW, "streams": 1024}, ABOUT, PEAKS)
    assert many["tpot_floor_ms"] == pytest.approx(1024 * 15e9 / 800e12 * 1e3, abs=1e-3)
    assert gpu.with_floor(ROW, ABOUT, {})["of_floor"] is None, "unknown without the peaks"


@pytest.mark.parametrize(("name", "millions"), [("smollm2-135m", 135), ("qwen2.5-0.5b", 494), ("qwen2.5-7b", 7_616)])  # fmt: skip
def test_shapes_are_of_the_sizes_that_their_names_say(name, millions):
    shape = SHAPES[name]
    embedding = 0 if shape.config["tie_word_embeddings"] else shape.head_parameters
    total = shape.body_parameters + shape.head_parameters + embedding
    assert total / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.slow
def test_a_whole_run_measures_this_engine_and_transformers(tmp_path):
    """In one call, as on a GPU; tiny, and on the CPU."""
    done = subprocess.run(
        [
            ROOT / "bench" / "gpu.sh", "--device", "cpu", "--small", "tiny", "--large", "",
            "--only", "peaks,tests,engine tiny bfloat16,generate", "--streams", "1,3",
            "--prompt-tokens", "20", "--max-tokens", "6", "--seconds", "0.1",
        ],
        env={**os.environ, "OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )  # fmt: skip
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert [s["state"] for s in record["sections"]] == ["done"] * 4, done.stdout
    assert done.returncode == 0
    sections = {section["name"]: section for section in record["sections"]}
    assert "skipped" in sections["tests"]["notes"][-1]
    engine = sections["engine tiny bfloat16"]["rows"]
    assert [(row["streams"], row.get("is_sampled", False)) for row in engine] == [
        (1, False),
        (3, False),
        (1, True),
    ]
    for row in [*engine, *sections["generate tiny bfloat16"]["rows"]]:
        assert row["completion_tokens"] == 6 * row["requests"]
        assert row["tpot_floor_ms"] > 0
    assert done.stdout.count("generate tiny bfloat16") >= 2, "a line per width in the table"
