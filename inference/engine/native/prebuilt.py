"""Finds kernels that were built elsewhere, for machines without a C++ compiler.

They come as a wheel (wheel.py makes it), and are used if they were built of the same sources for
the same torch and Python. Doesn't load anything (build.py does).
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import platform
import sys
from pathlib import Path

import torch

from inference.engine.native.isa import InstructionSet

PACKAGE = "chatsite_kernels"
MANIFEST = "manifest.json"
AMX_SUFFIX = "-amx"
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


class NotPrebuilt(Exception):
    """No installed wheel has this library; the text says what is in the way."""


def module_name(set_name: str) -> str:
    """The name of the extension module for an instruction set."""
    return f"chatsite_kernels_{set_name.replace('-', '_')}"


def find(target: InstructionSet, *, sources: str) -> Path:
    """The library of this set that an installed wheel holds. Raises NotPrebuilt."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NotPrebuilt("no wheel of prebuilt ones is installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise NotPrebuilt(f"the installed wheel has no readable manifest ({error})") from error
    for name, value in built_for(sources).items():
        if manifest.get(name) != value:
            raise NotPrebuilt(f"the installed wheel was built for other {name}")
    name = target.name + (AMX_SUFFIX if target.has_amx() else "")
    library = folder / name / f"{module_name(target.name)}{SUFFIX}"
    if not library.is_file():
        raise NotPrebuilt(f"the installed wheel has no {name} kernels")
    return library


def built_for(sources: str) -> dict[str, str]:
    """What must be the same here and where a wheel was built."""
    return {
        "sources": sources,
        "torch": torch.__version__,
        "Python": f"{sys.implementation.cache_tag} {platform.machine()}",
    }
