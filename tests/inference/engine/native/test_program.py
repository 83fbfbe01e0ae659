"""The kernels' own test program (`make test-kernels`, `test-neon`) still fits their sources."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from inference.engine.native.build import SOURCES

PROGRAM = Path(__file__).resolve().parents[3] / "native"


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_the_test_program_compiles() -> None:
    """Read only, for the plainest set: what it calls is declared alike for all of them."""
    flags = ("-std=c++20", "-fopenmp", "-fsyntax-only", "-DCHATSITE_SCALAR", "-w")
    sources = [str(path) for path in sorted(PROGRAM.glob("*.cpp"))]
    ran = subprocess.run(
        ["c++", *flags, f"-I{SOURCES}", f"-I{PROGRAM}", *sources], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
