"""Makes the wheel of prebuilt kernels: `make wheel`.

Compiles every instruction set of this kind of machine, whatever its own CPU can do, into one wheel
for machines without a C++ compiler (prebuilt.py finds them there).

    python -m inference.engine.native.wheel FOLDER [SET ...]
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from inference import env
from inference.engine.native import build, isa
from inference.engine.native.isa import InstructionSet
from inference.engine.native.prebuilt import (
    AMX_SUFFIX,
    MANIFEST,
    PACKAGE,
    SUFFIX,
    built_for,
    module_name,
)

VERSION = "0.1.0"


def build_wheel(folder: Path, *, names: tuple[str, ...] = ()) -> Path:
    """Compile the sets of this kind of machine (or those named) and write their wheel.

    Raises subprocess.CalledProcessError where the compiler fails; its output is on the terminal.
    """
    manifest = built_for(build.source_key())
    files: dict[str, bytes] = {f"{PACKAGE}/__init__.py": b""}
    with tempfile.TemporaryDirectory() as work:
        for target in isa.SETS:
            if target.machines and platform.machine() not in target.machines:
                continue
            variants = {target.name: target.flags}
            if target.name == "avx512":
                variants[target.name + AMX_SUFFIX] = target.flags + isa.AMX_FLAGS
            for name, flags in variants.items():
                if names and name not in names:
                    continue
                print(f"compiling {name} ...", file=sys.stderr, flush=True)
                # Not tuned for the machine that builds.
                plain = [flag for flag in flags if not flag.startswith("-mtune")]
                library = _compile(target, [*build.CXX_FLAGS, *plain], Path(work) / name)
                files[f"{PACKAGE}/{name}/{library.name}"] = library.read_bytes()
    if manifest != built_for(build.source_key()):
        raise RuntimeError("the sources were changed while they were compiled; build again")
    files[f"{PACKAGE}/{MANIFEST}"] = json.dumps(manifest, indent=2).encode()
    return write_wheel(folder, files)


def _compile(target: InstructionSet, flags: list[str], work: Path) -> Path:
    """As torch's cpp_extension would, but without loading what may not run here."""
    from torch.utils import cpp_extension

    work.mkdir()
    compiler = env.text("CXX", "c++")
    includes: list[Any] = [*cpp_extension.include_paths(), sysconfig.get_paths()["include"]]
    common = [
        *flags,
        "-fPIC",
        f"-DTORCH_EXTENSION_NAME={module_name(target.name)}",
        "-DTORCH_API_INCLUDE_EXTENSION_H",
        *(f"-isystem{path}" for path in includes),
    ]

    def compile_one(source: Path) -> str:
        made = str(work / f"{source.stem}.o")
        subprocess.run([compiler, *common, "-c", str(source), "-o", made], check=True)
        return made

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, sorted(build.SOURCES.glob("*.cpp"))))
    library = work / f"{module_name(target.name)}{SUFFIX}"
    paths = [f"-L{path}" for path in cpp_extension.library_paths()]
    libraries = ["-lc10", "-ltorch_cpu", "-ltorch", "-ltorch_python"]
    subprocess.run(
        [compiler, "-shared", "-s", *objects, *paths, *libraries, "-fopenmp", "-o", str(library)],
        check=True,
    )
    return library


def write_wheel(folder: Path, files: dict[str, bytes]) -> Path:
    """A wheel of these files: a zip with their hashes and three lines about itself."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = f"{python}-{python}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    about = f"{PACKAGE}-{VERSION}.dist-info"
    needed = torch.__version__.partition("+")[0]
    files = {
        **files,
        f"{about}/METADATA": (
            f"Metadata-Version: 2.1\nName: {PACKAGE.replace('_', '-')}\nVersion: {VERSION}\n"
            f"Summary: chatsite's CPU kernels, compiled\nRequires-Dist: torch=={needed}\n"
        ).encode(),
        f"{about}/WHEEL": (
            f"Wheel-Version: 1.0\nGenerator: chatsite\nRoot-Is-Purelib: false\nTag: {tag}\n"
        ).encode(),
    }
    records = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        records.append(f"{name},sha256={digest},{len(data)}\n")
    records.append(f"{about}/RECORD,,\n")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{PACKAGE}-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{about}/RECORD", "".join(records))
    return wheel


def main() -> None:
    """`make wheel`: the folder, then perhaps the sets to build instead of all."""
    folder, *names = sys.argv[1:]
    print(build_wheel(Path(folder), names=tuple(names)))


if __name__ == "__main__":
    main()
