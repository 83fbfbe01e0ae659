"""Runs the parts of bench/gpu.sh one after the other, each within its time, and prints a table.

    bench/gpu.sh [--budget 450] [--only NAMES] [--out FOLDER]

Each section is a process of its own (gpu_sections.py): one that fails, hangs or breaks the device's
context ends alone, and keeps what it had measured. The record is written anew after every figure,
so that a run that is cut off leaves one. What belongs to a floor is in docs/measures.md. Loads
neither torch nor the engine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = Path(__file__).with_name("gpu_sections.py")
GOODBYE_S = 5.0
"""Kept of the budget, to end a section and to write the record."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the run: its arguments to gpu_sections.py, and the seconds it may take."""

    name: str
    arguments: tuple[str, ...]
    limit_s: float


def sections(small: str, large: str) -> list[Section]:
    """All parts, what matters most first: those that no time is left for are skipped.

    A shape without a name is left out.
    """
    parts = [
        Section("peaks", ("peaks",), 60),
        Section("tests", (), 110),
        Section(f"engine {small} bfloat16", ("engine", small, "bfloat16"), 80),
        Section(f"engine {large} bfloat16", ("engine", large, "bfloat16"), 90),
        Section(f"engine {large} int8", ("engine", large, "int8"), 90),
        Section(f"generate {small} bfloat16", ("generate", small, "bfloat16"), 60),
        Section(f"generate {large} bfloat16", ("generate", large, "bfloat16"), 60),
        Section(f"continuous {small} bfloat16", ("continuous", small, "bfloat16"), 50),
        Section(f"continuous {large} bfloat16", ("continuous", large, "bfloat16"), 50),
        Section(f"engine {small} int8", ("engine", small, "int8"), 60),
    ]
    return [part for part in parts if "" not in part.arguments]


# --- one section ----------------------------------------------------------------------------------


def run_section(
    section: Section, options: argparse.Namespace, *, limit_s: float, log: TextIO
) -> Iterator[dict[str, Any]]:
    """Start a section and yield its findings as they come; at last {"state", "wall_s", "error"}."""
    begin = time.monotonic()
    print(f"\n===== {section.name} =====", file=log, flush=True)
    command, reads = _command(section, options)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log if reads is _json_line else subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    state, error = "done", ""
    try:
        while True:
            left_s = limit_s - (time.monotonic() - begin)
            try:
                line = lines.get(timeout=max(0.01, left_s))
            except queue.Empty:
                state, error = "timed out", f"after {limit_s:.0f} s"
                break
            if line is None:
                break
            found = reads(line)
            if found is not None:
                yield found
            if found is None or reads is _pytest_line:
                log.write(line)
                log.flush()
    finally:
        status = _end(process, kill=state != "done")
    if state == "done" and status:
        state = "failed"
        error = f"ended with {status}: {_last_words(Path(log.name), section.name)}"
    yield {"state": state, "error": error, "wall_s": round(time.monotonic() - begin, 1)}


def _command(section: Section, options: argparse.Namespace) -> tuple[list[str], Any]:
    if section.name == "tests":
        # Neither pyproject.toml's plugins nor tests/conftest.py: they need the whole site.
        pytest = ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(ROOT), "--noconftest"]
        return [sys.executable, *pytest, "-p", "no:cacheprovider", "tests/gpu"], _pytest_line
    return [
        *(sys.executable, str(SECTIONS), *section.arguments),
        *("--device", options.device, "--streams", options.streams),
        *("--prompt-tokens", str(options.prompt_tokens), "--max-tokens", str(options.max_tokens)),
        *("--seconds", str(options.seconds)),
    ], _json_line


def _read(pipe: Any, lines: queue.SimpleQueue[str | None]) -> None:
    for line in pipe:
        lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str], *, kill: bool) -> int:
    """The exit status, once the process and all it started are gone."""
    if not kill:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GOODBYE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _json_line(line: str) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        return found if isinstance(found, dict) else None
    return None


def _pytest_line(line: str) -> dict[str, Any] | None:
    if line.startswith(("FAILED", "ERROR")):
        return {"failure": line.strip()}
    if re.search(r"\d+ (passed|failed|error|skipped)", line):
        return {"summary": line.strip(" =\n")}
    return None


def _last_words(log: Path, section: str) -> str:
    """The last line that a failed section wrote, which names its error."""
    text = log.read_text(errors="replace").rpartition(f"===== {section} =====")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


# --- floors and table -----------------------------------------------------------------------------


def with_floor(row: dict[str, Any], about: dict[str, Any], peaks: dict[str, Any]) -> dict[str, Any]:
    """The row with the least time a decode step of that width could take, and its share.

    The larger of bytes over bandwidth and of operations over their rate. None where not known.
    """
    floor_ms = share = None
    bandwidth, rate = peaks.get("bandwidth_bytes_s"), peaks.get("flops_s")
    if bandwidth and rate and about.get("weight_bytes"):
        context = about["prompt_tokens"] + about["max_tokens"] / 2
        streams = row["streams"]
        read = about["weight_bytes"] + streams * context * about["kv_bytes_per_token"]
        floor_ms = 1e3 * max(read / bandwidth, streams * about["flops_per_token"] / rate)
        tpot = row["tpot_ms"]["p50"]
        share = round(floor_ms / tpot, 3) if tpot else None
        floor_ms = round(floor_ms, 3)
    return {**row, "tpot_floor_ms": floor_ms, "of_floor": share}


def table(record: dict[str, Any]) -> str:
    """All figures, a line per section and width."""
    peaks = record["peaks"]
    lines = [
        f"{peaks.get('device', 'no device was measured')}, torch {peaks.get('torch', '?')}, "
        f"transformers {peaks.get('transformers', '?')}; read or copy "
        f"{_cell(peaks.get('bandwidth_bytes_s', 0) / 1e9)} GB/s, "
        f"products {_cell(peaks.get('flops_s', 0) / 1e12)} TFLOP/s",
        f"{'':36}{'streams':>8}{'tokens/s':>10}{'decoding':>10}{'TTFT p50':>10}{'TPOT p50':>10}"
        f"{'floor':>8}{'share':>7}",
    ]
    for section in record["sections"]:
        for row in section["rows"]:
            share = "–" if row["of_floor"] is None else f"{row['of_floor']:.0%}"
            name = section["name"] + (" sampled" if row.get("is_sampled") else "")
            lines.append(
                f"{name:36}{row['streams']:>8}{_cell(row['tokens_per_s']):>10}"
                f"{_cell(row['decode_tokens_per_s']):>10}{_cell(row['ttft_ms']['p50']):>10}"
                f"{_cell(row['tpot_ms']['p50']):>10}{_cell(row['tpot_floor_ms']):>8}{share:>7}"
            )
        if section["state"] != "done" or section["notes"]:
            said = "; ".join(filter(None, (section["error"], *section["notes"])))
            lines.append(f"{section['name']}: {section['state']}. {said}")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


# --- the run --------------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the sections and return the record, which is written along the way."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "gpu.json"
    end = time.monotonic() + options.budget
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "budget_s": options.budget,
        "prompt_tokens": options.prompt_tokens,
        "max_tokens": options.max_tokens,
        "peaks": {},
        "sections": [],
    }
    wanted = [part.strip() for part in options.only.split(",") if part.strip()]
    with (options.out / "gpu.log").open("w") as log:
        for section in sections(options.small, options.large):
            if wanted and not any(part in section.name for part in wanted):
                continue
            kept: dict[str, Any] = {"name": section.name, "state": "skipped", "wall_s": 0.0,
                                    "error": "no time was left", "about": {}, "notes": [],
                                    "rows": []}  # fmt: skip
            record["sections"].append(kept)
            limit_s = min(section.limit_s, end - time.monotonic() - GOODBYE_S)
            if limit_s > GOODBYE_S:
                kept |= {"state": "running", "error": ""}
                for found in run_section(section, options, limit_s=limit_s, log=log):
                    _keep(found, kept, record)
                    path.write_text(json.dumps(record, indent=1) + "\n")
            path.write_text(json.dumps(record, indent=1) + "\n")
            print(f"{kept['wall_s']:6.1f} s  {section.name}: {kept['state']} {kept['error']}",
                  flush=True)  # fmt: skip
    return record


def _keep(found: dict[str, Any], kept: dict[str, Any], record: dict[str, Any]) -> None:
    """Put one finding of a section where it belongs."""
    if "peaks" in found:
        record["peaks"] |= found["peaks"]
    elif "about" in found:
        kept["about"] |= found["about"]
    elif "row" in found:
        kept["rows"].append(with_floor(found["row"], kept["about"], record["peaks"]))
    elif "state" in found:
        kept |= found
    else:
        kept["notes"] += [str(text) for text in found.values()]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=450.0, help="seconds for all sections")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench", help="for the record")
    parser.add_argument("--only", default="", help="names or parts of names, by comma")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--streams", default="1,8,32,128")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=3.0, help="of batches at each width")
    parser.add_argument("--small", default="smollm2-135m", help="a name of bench/shapes.py")
    parser.add_argument("--large", default="qwen2.5-7b")
    options = parser.parse_args(arguments)
    record = measure(options)
    print("\n" + table(record))
    return 0 if all(section["state"] == "done" for section in record["sections"]) else 1


if __name__ == "__main__":
    # Who is stopped from outside ends the section that runs, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    sys.exit(main())
