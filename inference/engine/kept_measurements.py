"""What was measured on this machine, kept between starts: one JSON file beside the built kernels.

By machine, since a data folder may move or be shared. A file that can't be read or written is as
good as none: what is in it can be measured again. Knows nothing of what the entries mean.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from inference import env

log = logging.getLogger(__name__)

FILE = "measured.json"


def machine_folder() -> Path:
    """Where what belongs to this machine alone lies: built kernels, and what was measured."""
    if named := env.text("CHATSITE_KERNELS"):
        return Path(named)
    data = env.text("CHATSITE_DATA")
    root = Path(data) if data else Path(__file__).resolve().parents[2] / "var"
    return root / "kernels"


@cache
def machine_name(device: torch.device) -> str:
    """The processor by name, and how many cores of it this process may use: "… EPYC, 2 cores"."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def kept(device: torch.device, kind: str) -> dict[str, Any]:
    """The entries of that kind for this machine; empty if there are none."""
    return _entries(_read(machine_folder() / FILE), device, kind)


def keep(
    device: torch.device, kind: str, change: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Change this machine's entries of that kind, beside other processes; returns them."""
    path = machine_folder() / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            everything = _read(path)
            entries = _entries(everything, device, kind)
            before = json.dumps(entries)
            change(entries)
            if json.dumps(entries) != before:
                beside = path.with_name(f".{FILE}-{os.getpid()}")
                beside.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
                beside.replace(path)
    except OSError as error:
        log.warning("What was measured can't be kept: %s", error)
        entries = kept(device, kind)
        change(entries)
    return entries


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _entries(everything: dict[str, Any], device: torch.device, kind: str) -> dict[str, Any]:
    """The part of the file that holds them, made where it is missing or something else."""
    of_machine = everything.get(machine_name(device))
    if not isinstance(of_machine, dict):
        of_machine = everything[machine_name(device)] = {}
    entries = of_machine.get(kind)
    if not isinstance(entries, dict):
        entries = of_machine[kind] = {}
    return entries
