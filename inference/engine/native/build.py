"""Builds the kernels at the first start, and finds them again at every later one.

A library is built for one instruction set (isa.py), with that set's flags. It lies under the data
folder, named by a hash of its sources, flags, the compiler, torch and the CPU: when one of them
changes it is built anew. Two processes never build at once. Without a compiler the libraries of an
installed wheel serve (prebuilt.py).
Doesn't decide whether the kernels are used (choose_backend does).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.machinery
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from inference import env
from inference.engine.kept_measurements import machine_folder
from inference.engine.native import isa, prebuilt
from inference.engine.native.isa import InstructionSet, IsaUnavailable

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "csrc"
CXX_FLAGS = (
    "-O3",
    "-std=c++20",
    "-fopenmp",
    "-fno-math-errno",
    # Fused multiply-adds only where the source says so: a sum is the same in every shape of tile
    # and on every instruction set.
    "-ffp-contract=off",
    # Libraries of several sets in one process (tests) must not share each other's functions.
    "-fvisibility=hidden",
    "-fno-gnu-unique",
    "-Wno-uninitialized",  # gcc warns about its own intrinsics
    "-Wno-maybe-uninitialized",
    "-Wno-ignored-attributes",
)


NO_COMPILER = (
    "there is no C++ compiler (c++) to build the kernels with, and {reason}. Answers come several "
    "times as fast with a compiler (Debian: apt install g++) or with the wheel that `make wheel` "
    "builds on another machine of this kind (pip install chatsite_kernels-*.whl); then start anew"
)


class KernelsUnavailable(RuntimeError):
    """This machine can't run or build the kernels; the text says why."""


def load_kernels(name: str | None = None) -> ModuleType:
    """The kernels compiled for the set of this name, or for the chosen one; built if they weren't.

    Raises KernelsUnavailable.
    """
    try:
        return _load(isa.find(name) if name else isa.chosen())
    except IsaUnavailable as error:
        raise KernelsUnavailable(str(error)) from error


@cache
def _load(target: InstructionSet) -> ModuleType:
    begin = time.monotonic()
    version = _compiler_version()
    folder = machine_folder() / f"{target.name}-{_key(version, target)}"
    library = folder / f"{_module(target)}{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    if not library.exists():
        if version is not None:
            _build(folder, library, target)
            log.info("Built the kernels in %.1f s: %s", time.monotonic() - begin, folder)
        else:
            try:
                library = prebuilt.find(target, sources=source_key())
            except prebuilt.NotPrebuilt as reason:
                raise KernelsUnavailable(NO_COMPILER.format(reason=reason)) from reason
    module = _import(library, target)
    log.info("Loaded the %s kernels in %.2f s", target.name, time.monotonic() - begin)
    return module


def _module(target: InstructionSet) -> str:
    return prebuilt.module_name(target.name)


def _flags(target: InstructionSet) -> list[str]:
    return [*CXX_FLAGS, *target.compiler_flags()]


def _compiler_version() -> str | None:
    compiler = env.text("CXX", "c++")
    if shutil.which(compiler) is None:
        return None
    try:
        out = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return out.stdout


def source_key() -> str:
    """Changes with the sources of the kernels."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.suffix in (".cpp", ".h"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _key(compiler: str | None, target: InstructionSet) -> str:
    digest = hashlib.sha256()
    for text in (
        source_key(),
        compiler or "",
        torch.__version__,
        sys.version,
        *sorted(isa.cpu_features()),
        *_flags(target),
    ):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _build(folder: Path, library: Path, target: InstructionSet) -> None:
    """Compile into `folder`. Whoever comes second waits and finds the library there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return
        log.info("Building the %s kernels; this happens once, about 20 s ...", target.name)
        from torch.utils import cpp_extension

        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)  # a killed build's lock would be waited for
        work.mkdir()
        try:
            cpp_extension.load(
                _module(target),
                [str(path) for path in sorted(SOURCES.glob("*.cpp"))],
                extra_cflags=_flags(target),
                extra_ldflags=["-fopenmp"],
                build_directory=str(work),
            )
        except Exception as error:
            raise KernelsUnavailable(f"the kernels did not compile: {error}") from error
        os.replace(work / f"{_module(target)}.so", library)
        shutil.rmtree(work, ignore_errors=True)


def _import(library: Path, target: InstructionSet) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_module(target), library)
    if spec is None or spec.loader is None:
        raise KernelsUnavailable(f"{library} is not a Python extension")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise KernelsUnavailable(f"the built kernels did not load: {error}") from error
    module.__file__ = str(library)  # of one just built, Python remembers where it was compiled
    return module
