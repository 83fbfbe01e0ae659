"""What a build that was killed leaves behind. That kernels compile is tested by using them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils import cpp_extension

from inference.engine.native import build, isa


def test_a_build_that_was_killed_does_not_hold_up_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch marks a running build by a file named lock, and waits as long as there is one."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "lock").touch()

    def compile_if_free(name: str, sources: list[str], **options: Any) -> None:
        work = Path(options["build_directory"])
        assert not (work / "lock").exists()
        (work / f"{name}.so").touch()

    monkeypatch.setattr(cpp_extension, "load", compile_if_free)
    build._build(tmp_path, tmp_path / "kernels.so", isa.find("scalar"))
    assert (tmp_path / "kernels.so").exists()
    assert not (tmp_path / "work").exists()


BUILD = """
import sys
from pathlib import Path
from inference.engine.native import build, isa
build.SOURCES = Path(sys.argv[1])
print(build._load(isa.find("scalar")).__file__)
"""


def test_what_was_just_built_says_where_it_lies_now(tmp_path: Path) -> None:
    """In a process of its own: torch gives a second library of one name another name."""
    source = "#include <pybind11/pybind11.h>\nPYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {}\n"
    (tmp_path / "one.cpp").write_text(source)
    ran = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)],
        env=os.environ | {"CHATSITE_KERNELS": str(tmp_path / "kernels")},
        capture_output=True,
        text=True,
    )
    assert Path(ran.stdout.strip()).is_file(), ran.stderr
