"""Reads the headers of weight files: names, shapes and types of the tensors, no weights.

safetensors: eight bytes of length, then JSON. GGUF: typed key-value pairs, then a table of tensors;
the format is that of ggml's docs/gguf.md, version 3. Needs neither torch nor numpy.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
MAX_HEADER_BYTES = 100_000_000


class BadWeights(ValueError):
    """A folder whose weights can't or mustn't be read; the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: its shape and the name of its type there (BF16, Q4_1)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def parameters(self) -> int:
        """How many numbers the tensor holds."""
        return math.prod(self.shape)


def weight_files(folder: Path) -> list[Path]:
    """The folder's weights: its safetensors files, or else its one GGUF.

    Raises BadWeights when there are none, when only pickles are there, and for code of its own.
    """
    config = folder / "config.json"
    if config.is_file() and "auto_map" in json.loads(config.read_text(encoding="utf-8")):
        raise BadWeights(
            f"{folder.name} wants to run code of its own (auto_map in config.json): refused."
        )
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.gguf"))
    if any(folder.resolve() not in file.resolve().parents for file in files):
        raise BadWeights(f"A weight file of {folder.name} is a link that leads out of the folder.")
    if not files:
        if any(file.suffix in PICKLES for file in folder.iterdir()):
            raise BadWeights(
                f"{folder.name} holds pickled weights, which can run code when they are read. "
                "Convert them to safetensors or GGUF first."
            )
        raise BadWeights(f"{folder.name} holds no weights (*.safetensors or *.gguf).")
    if files[0].suffix == ".gguf" and len(files) > 1:
        raise BadWeights(f"{folder.name} holds {len(files)} GGUF files; keep the one to be served.")
    return files


def tensors_of(file: Path) -> dict[str, TensorInfo]:
    """Name → tensor of one weight file. Raises BadWeights when its header can't be read."""
    try:
        if file.suffix == ".gguf":
            return read_gguf(file)[1]
        return _read_safetensors(file)
    except (KeyError, TypeError, ValueError, struct.error, IndexError, RecursionError) as error:
        raise BadWeights(f"The header of {file.name} can't be read: {error}") from error


def _read_safetensors(file: Path) -> dict[str, TensorInfo]:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(MAX_HEADER_BYTES, file.stat().st_size - 8):
            raise ValueError(f"it claims {length} bytes")
        header: dict[str, Any] = json.loads(stream.read(length))
    return {
        name: TensorInfo(tuple(entry["shape"]), entry["dtype"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_STRING, _ARRAY = 8, 9
_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K",
          11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 20: "IQ4_NL", 23: "IQ4_XS", 24: "I8",
          25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}  # fmt: skip


def read_gguf(file: Path) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    """A GGUF's single values by key (arrays are passed over), and its tensors by name."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"GGUF":
            raise ValueError("it is no GGUF file")
        reader = _Reader(data, 4)
        version = reader.number("I")
        if version not in (2, 3):
            raise ValueError(f"its version {version} is not known")
        num_tensors, num_fields = reader.number("Q"), reader.number("Q")
        fields = {}
        for _ in range(num_fields):
            key, kind = reader.text(), reader.number("I")
            value = reader.value(kind)
            if value is not None:
                fields[key] = value
        return fields, dict(reader.tensor() for _ in range(num_tensors))


class _Reader:
    """Walks over the bytes of a GGUF header, which is not to be trusted."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self._data, self._at = data, at

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return value

    def text(self) -> str:
        length = self.number("Q")
        if length > len(self._data) - self._at:
            raise ValueError("a text in it is longer than the file")
        self._at += length
        return self._data[self._at - length : self._at].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_NUMBERS[kind])
        inner, count = self.number("I"), self.number("Q")
        if inner in _NUMBERS:
            self._at += count * struct.calcsize("<" + _NUMBERS[inner])
        else:
            for _ in self._up_to(count):
                self.value(inner)
        return None

    def tensor(self) -> tuple[str, TensorInfo]:
        name, dimensions = self.text(), self.number("I")
        shape = tuple(self.number("Q") for _ in self._up_to(dimensions))
        kind = self.number("I")
        self.number("Q")  # where its data lies
        return name, TensorInfo(shape[::-1], _TYPES.get(kind, f"type {kind}"))

    def _up_to(self, count: int) -> Iterator[int]:
        if count > len(self._data):
            raise ValueError(f"it claims {count} entries")
        return iter(range(count))
