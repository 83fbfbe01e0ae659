"""Builds the kernels at the first start, and finds them again at every later one.

The built library lies under the data folder, named by a hash of its sources, the compiler, torch
and the CPU: when one of them changes it is built anew. Two processes never build at once.
Doesn't decide whether the kernels are used (choose_backend does).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.machinery
import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "csrc"
MODULE = "chatsite_kernels"
NEEDED_FLAGS = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512_bf16", "avx512_vnni", "f16c"})
CXX_FLAGS = (
    "-O3",
    "-std=c++20",
    "-march=native",
    "-fopenmp",
    "-fno-math-errno",
    # Fused multiply-adds only where the source says so: a sum is the same in every shape of tile.
    "-ffp-contract=off",
    "-Wno-uninitialized",  # gcc warns about its own intrinsics
    "-Wno-maybe-uninitialized",
)


class KernelsUnavailable(RuntimeError):
    """This machine can't run or build the kernels; the text says why."""


@cache
def cpu_flags() -> frozenset[str]:
    """What the CPU says it can do, by Linux' names; empty where that can't be read."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()


@cache
def load_kernels() -> ModuleType:
    """The compiled kernels, built now if they weren't yet. Raises KernelsUnavailable."""
    missing = NEEDED_FLAGS - cpu_flags()
    if platform.machine() != "x86_64" or missing:
        lacking = ", ".join(sorted(missing)) or platform.machine()
        raise KernelsUnavailable(f"the CPU lacks what the kernels need ({lacking})")
    begin = time.monotonic()
    version = _compiler_version()
    folder = _cache_folder() / _key(version)
    library = folder / f"{MODULE}{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    if not library.exists():
        if version is None:
            raise KernelsUnavailable("there is no C++ compiler (c++) to build the kernels with")
        _build(folder, library)
        log.info("Built the kernels in %.1f s: %s", time.monotonic() - begin, folder)
    module = _import(library)
    log.info("Loaded the kernels in %.2f s", time.monotonic() - begin)
    return module


def _cache_folder() -> Path:
    named = os.environ.get("CHATSITE_KERNELS")
    if named:
        return Path(named)
    data = os.environ.get("CHATSITE_DATA")
    root = Path(data) if data else Path(__file__).resolve().parents[3] / "var"
    return root / "kernels"


def _compiler_version() -> str | None:
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        return None
    try:
        out = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return out.stdout


def _key(compiler: str | None) -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    for text in (
        compiler or "",
        torch.__version__,
        sys.version,
        *sorted(cpu_flags()),
        *CXX_FLAGS,
    ):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _build(folder: Path, library: Path) -> None:
    """Compile into `folder`. Whoever comes second waits and finds the library there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return
        log.info("Building the kernels for this CPU; this happens once and takes about 20 s ...")
        from torch.utils import cpp_extension

        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)  # a killed build's lock would be waited for
        work.mkdir()
        try:
            cpp_extension.load(
                MODULE,
                [str(path) for path in sorted(SOURCES.glob("*.cpp"))],
                extra_cflags=list(CXX_FLAGS),
                extra_ldflags=["-fopenmp"],
                build_directory=str(work),
            )
        except Exception as error:
            raise KernelsUnavailable(f"the kernels did not compile: {error}") from error
        os.replace(work / f"{MODULE}.so", library)
        shutil.rmtree(work, ignore_errors=True)


def _import(library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE, library)
    if spec is None or spec.loader is None:
        raise KernelsUnavailable(f"{library} is not a Python extension")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise KernelsUnavailable(f"the built kernels did not load: {error}") from error
    return module
