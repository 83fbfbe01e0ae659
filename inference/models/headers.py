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
    offset: int = 0  # in a GGUF, from where its data begin

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
    header = read_gguf_header(file)
    return header.fields, header.tensors


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What stands before a GGUF's data, which begin at `data_at`; arrays by their lengths."""

    fields: dict[str, Any]
    kinds: dict[str, int]  # of the fields' values, by the format's numbers
    array_lengths: dict[str, int]
    tensors: dict[str, TensorInfo]
    data_at: int


def read_gguf_header(file: Path) -> GgufHeader:
    """Read all of a GGUF but its data. Raises ValueError, struct.error and the like."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"GGUF":
            raise ValueError("it is no GGUF file")
        reader = _Reader(data, 4)
        version = reader.number("I")
        if version not in (2, 3):
            raise ValueError(f"its version {version} is not known")
        num_tensors, num_fields = reader.number("Q"), reader.number("Q")
        fields: dict[str, Any] = {}
        kinds: dict[str, int] = {}
        lengths: dict[str, int] = {}
        for _ in range(num_fields):
            key, kind = reader.text(), reader.number("I")
            if kind == _ARRAY:
                lengths[key] = reader.skip_array()
            else:
                fields[key], kinds[key] = reader.value(kind), kind
        tensors = dict(reader.tensor() for _ in range(num_tensors))
        alignment = int(fields.get("general.alignment", 32)) or 1
        data_at = -(-reader.at // alignment) * alignment
        return GgufHeader(fields, kinds, lengths, tensors, data_at)


class _Reader:
    """Walks over the bytes of a GGUF header, which is not to be trusted."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self._data, self._at = data, at

    @property
    def at(self) -> int:
        return self._at

    def _length(self) -> int:
        """Of the text that begins here."""
        (length,) = struct.unpack_from("<Q", self._data, self._at)
        if length > len(self._data) - self._at:
            raise ValueError("a text in it is longer than the file")
        return int(length)

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return value

    def text(self) -> str:
        length = self._length()
        self._at += 8 + length
        return self._data[self._at - length : self._at].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        return self.number(_NUMBERS[kind])

    def skip_array(self) -> int:
        """Pass over an array; its length."""
        inner, count = self.number("I"), self.number("Q")
        if inner in _NUMBERS:
            self._at += count * struct.calcsize("<" + _NUMBERS[inner])
        elif inner == _STRING:
            self._skip_texts(count)
        elif inner == _ARRAY:
            for _ in self._up_to(count):
                self.skip_array()
        else:
            raise ValueError(f"an array of kind {inner}")
        return int(count)

    def _skip_texts(self, count: int) -> None:
        """A vocabulary has 150,000 of them, and as many merges."""
        data, at, end = self._data, self._at, len(self._data)
        unpack_from = struct.Struct("<Q").unpack_from
        for _ in self._up_to(count):
            at += 8 + unpack_from(data, at)[0]
            if at > end:
                raise ValueError("a text in it is longer than the file")
        self._at = at

    def tensor(self) -> tuple[str, TensorInfo]:
        name, dimensions = self.text(), self.number("I")
        shape = tuple(self.number("Q") for _ in self._up_to(dimensions))
        kind = self.number("I")
        return name, TensorInfo(shape[::-1], _TYPES.get(kind, f"type {kind}"), self.number("Q"))

    def _up_to(self, count: int) -> Iterator[int]:
        if count > len(self._data):
            raise ValueError(f"it claims {count} entries")
        return iter(range(count))
