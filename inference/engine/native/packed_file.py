"""The file in which packed weights lie beside their model, so that a later start only maps it.

    packed-int4.bin: matrices, from a large page's begin on | other tensors | JSON | its length, its
    SHA-256, MAGIC

One file for each dtype; the layout is the same for all instruction sets. It is written beside its
place and renamed, readable by its owner alone, and is used only if key, size and the sums of its
blocks are right. The key names the model's files, the code that packs, and the libraries. Doesn't
know what the tensors mean (prepared.py does).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference import env
from inference.engine import memory
from inference.models.describe import revision
from inference.models.headers import weight_files

VARIABLE = "CHATSITE_PACKED_WEIGHTS"
WAYS = ("auto", "mapped", "copied", "off")
FORMAT = 1
MAGIC = b"chatsite packed\n"
FOOTER = struct.Struct("<Q32s16s")
BLOCK = 8 << 20
"""Bytes written at once and summed up: the page cache then holds the file in large pages."""
LINE = 64
MOST_LARGE = 0.9
"""A mapping with this share in large pages is read as fast as memory of one's own."""
NATIVE = Path(__file__).parent
PACKING_CODE = (
    *("csrc/formats.h", "csrc/pack.cpp", "csrc/simd/convert.h"),
    *("layer_parts.py", "fusion.py", "packing.py", "prepared.py", "packed_file.py"),
)


class Unusable(Exception):
    """There is no such file, or it mustn't be used, or none can be written; the text says why."""


def way() -> str:
    """How packed weights are used: one of WAYS."""
    return env.choice(VARIABLE, "auto", WAYS)


def packed_path(folder: Path, dtype: str) -> Path:
    """Where the packed weights of this model lie."""
    return folder / f"packed-{dtype}.bin"


def packed_key(folder: Path, dtype: str) -> dict[str, Any]:
    """What must be the same for packed weights to be used. Raises BadWeights, OSError."""
    import transformers

    return {
        "format": FORMAT,
        "dtype": dtype,
        "revision": revision(folder),
        "files": [
            [file.name, file.stat().st_size, file.stat().st_mtime_ns]
            for file in weight_files(folder)
        ],
        "code": _code_key(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


@cache
def _code_key() -> str:
    """Changes when the code does that chooses, stacks and packs the matrices."""
    digest = hashlib.sha256()
    for name in PACKING_CODE:
        digest.update((NATIVE / name).read_bytes())
    return digest.hexdigest()[:16]


class PackedWriter:
    """Writes a file of tensors; it appears when `finish` is called, or not at all.

    Raises Unusable where it can't be written, also when another process is writing it.
    """

    def __init__(self, path: Path, *, needed: int) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._file: int | None = None
        self._block = bytearray()
        self._size = 0
        self._sums: list[int] = []
        self._num_matrix_bytes = 0
        try:
            if shutil.disk_usage(path.parent).free < 2 * needed + BLOCK:
                raise Unusable("the disk has too little space for packed weights")
            self._file = os.open(
                self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._file), self._part.lstat()):
                raise Unusable("another process has just written them")
            os.ftruncate(self._file, 0)
            os.fchmod(self._file, 0o600)
        except BlockingIOError as error:
            self._close()
            raise Unusable("another process is writing them") from error
        except OSError as error:
            self._close()
            raise Unusable(f"packed weights can't be kept: {error}") from error
        except Unusable:
            self._close()
            raise

    def __enter__(self) -> PackedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._file is not None:  # it was not finished
            with contextlib.suppress(OSError):
                self._part.unlink()
            self._close()
        if isinstance(error, OSError):
            raise Unusable(f"packed weights can't be kept: {error}") from error

    def add(self, tensor: Tensor) -> dict[str, Any]:
        """Write a tensor. Returns where it lies, for `PackedFile.tensor`."""
        tensor = tensor.detach().contiguous()
        place = {
            "at": self._size,
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
        }
        self._write(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
        self._pad(LINE)
        return place

    def end_matrices(self) -> None:
        """What follows is read here and there, and need not lie in large pages."""
        self._pad(memory.LARGE_PAGE)
        self._num_matrix_bytes = self._size

    def finish(self, key: dict[str, Any], content: Any) -> None:
        """Write the description behind the tensors, and put the file in its place."""
        self._pad(memory.PAGE)
        self._flush()
        assert self._file is not None
        described = {
            "key": key,
            "size": self._size,
            "matrices": self._num_matrix_bytes,
            "sums": self._sums,
            "content": content,
        }
        text = json.dumps(described).encode()
        os.write(self._file, text + FOOTER.pack(len(text), hashlib.sha256(text).digest(), MAGIC))
        os.fsync(self._file)
        self._part.rename(self._path)
        self._close()

    def _write(self, data: memoryview) -> None:
        self._size += len(data)
        while data:
            taken = min(len(data), BLOCK - len(self._block))
            self._block += data[:taken]
            data = data[taken:]
            if len(self._block) == BLOCK:
                self._flush()

    def _pad(self, unit: int) -> None:
        self._write(memoryview(bytes(-self._size % unit)))

    def _flush(self) -> None:
        assert self._file is not None
        if self._block:
            self._sums.append(_sum(np.frombuffer(self._block, dtype=np.uint64)))
            written = memoryview(self._block)
            while written:
                written = written[os.write(self._file, written) :]
            written.release()
            self._block = bytearray()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class PackedFile:
    """Packed weights that were checked and lie in memory. `way` says how, for a person.

    Raises Unusable.
    """

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        with _opened(path) as (file, size):
            described, mapped = self._check(file, size, key)
        wanted = way()
        share = 0.0 if wanted == "copied" else memory.bring_in(mapped)
        for i, expected in enumerate(described["sums"]):
            block = mapped[i * BLOCK : (i + 1) * BLOCK].numpy().view(np.uint64)
            if _sum(block) != expected:
                raise Unusable(f"{path.name} is damaged")
        self.content = described["content"]
        self._tensors, self._num_matrix_bytes = mapped, int(described["matrices"])
        self._matrices = mapped[: self._num_matrix_bytes]
        if wanted == "mapped" or share >= MOST_LARGE:
            self.way = f"mapped and shared, {share:.0%} of them in large pages"
            return
        self._matrices = memory.anonymous_bytes(self._num_matrix_bytes)[: self._num_matrix_bytes]
        self._matrices.copy_(mapped[: self._num_matrix_bytes])
        memory.give_back(mapped)  # of this process alone: the file stays in the page cache
        why = "as asked" if wanted == "copied" else "for the file can only be mapped in small ones"
        self.way = f"read into large pages of this process, {why}"

    def tensor(self, place: dict[str, Any]) -> Tensor:
        """The tensor at a place that `PackedWriter.add` has given. Not to be written to."""
        dtype = getattr(torch, place["dtype"])
        begin = int(place["at"])
        end = begin + int(np.prod(place["shape"], dtype=np.int64)) * dtype.itemsize
        source = self._matrices if begin < self._num_matrix_bytes else self._tensors
        return source[begin:end].view(dtype).view(place["shape"])

    @staticmethod
    def _check(file: int, size: int, key: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
        if size < FOOTER.size:
            raise Unusable("it is cut off")
        length, digest, magic = FOOTER.unpack(os.pread(file, FOOTER.size, size - FOOTER.size))
        begin = size - FOOTER.size - length
        if magic != MAGIC or begin < 0:
            raise Unusable("it is cut off, or no file of packed weights")
        text = os.pread(file, length, begin)
        if hashlib.sha256(text).digest() != digest:
            raise Unusable("its description is damaged")
        described = json.loads(text)
        if described["key"] != key:
            raise Unusable("it is of other weights or other code")
        if described["size"] != begin:
            raise Unusable("it is cut off")
        return described, memory.map_file(file, begin)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise Unusable(f"no packed weights: {error.strerror}") from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise Unusable(f"{path.name} is not this user's own, or others may write to it")
        yield file, found.st_size
    finally:
        os.close(file)


def _sum(words: np.ndarray) -> int:
    """The sum of 64-bit words, without what doesn't fit."""
    return int(np.add.reduce(words, dtype=np.uint64))
