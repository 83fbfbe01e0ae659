"""Memory that torch doesn't hand out: pages that come with their first use, and mapped files.

A large tensor of zeros made by torch is written to at once. One of `lazy_zeros` takes memory where
it is written to, and gives it back by `give_back`. Large pages (2 MB) are asked for everywhere:
reading weights and keys through small ones costs a third of the bandwidth. Doesn't know what lies
in the memory.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

PAGE = mmap.PAGESIZE
LARGE_PAGE = 2 << 20
POPULATE_READ, COLLAPSE = 22, 25
"""Linux' MADV_POPULATE_READ (5.14) and MADV_COLLAPSE (6.1), which Python doesn't name yet."""


def lazy_zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Zeros in the host's memory, of which a page is taken when it is first written to.

    Raises MemoryError when the system refuses so much.
    """
    size = math.prod(shape) * dtype.itemsize
    return anonymous_bytes(size)[:size].view(dtype).view(*shape)


def anonymous_bytes(size: int) -> Tensor:
    """At least `size` zero bytes, in large pages of this process alone."""
    size = -(-max(size, 1) // LARGE_PAGE) * LARGE_PAGE
    try:
        memory = mmap.mmap(-1, size + LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for {size} bytes: {error}") from error
    _ask_for_large_pages(memory)
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    begin = -whole.data_ptr() % LARGE_PAGE  # where a large page may begin
    return whole[begin : begin + size]


def map_file(descriptor: int, size: int) -> Tensor:
    """The first `size` bytes of a file, read-only, in memory shared with all who map it."""
    memory = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    _ask_for_large_pages(memory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is read-only: nobody writes to it
        return torch.frombuffer(memory, dtype=torch.uint8)


def bring_in(mapped: Tensor) -> float:
    """Read a mapped file into memory. Returns which share of it lies in large pages now (0 to 1).

    They come by themselves on file systems with large folios (ext4 from Linux 6.16 on, XFS, Btrfs);
    on others the kernel is asked to collapse small ones, which it can do if it was built for that.
    """
    _advise(mapped, POPULATE_READ)
    share = large_page_share(mapped)
    if share < 1:
        _advise(mapped, COLLAPSE)
        share = large_page_share(mapped)
    return share


def large_page_share(tensor: Tensor) -> float:
    """Which share of a tensor's mapping lies in large pages (0 to 1); 0 where nothing tells."""
    address = tensor.data_ptr()
    found = False
    large = 0
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        name, _, rest = line.partition(":")
        if "-" in name and " " in name:  # the head of a mapping: addresses, rights, file
            begin, _, end = name.split()[0].partition("-")
            if found:
                break
            found = int(begin, 16) <= address < int(end, 16)
        elif found and name in ("AnonHugePages", "FilePmdMapped", "ShmemPmdMapped"):
            large += int(rest.split()[0]) * 1024
    return min(1.0, large / max(1, tensor.nbytes // LARGE_PAGE * LARGE_PAGE))


def give_back(tensor: Tensor) -> None:
    """Give the whole pages within a contiguous tensor of `lazy_zeros` back; they read as zeros.

    What shares its first or last page with something else stays.
    """
    begin = -(-tensor.data_ptr() // PAGE) * PAGE
    end = (tensor.data_ptr() + tensor.nbytes) // PAGE * PAGE
    if end > begin and sys.platform == "linux":
        _libc().madvise(begin, end - begin, mmap.MADV_DONTNEED)


def trim() -> None:
    """Have the C library give back what was freed and lies between what is in use (glibc)."""
    if sys.platform == "linux" and hasattr(_libc(), "malloc_trim"):
        _libc().malloc_trim(0)


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers as ranges of neighbours, each from its first to behind its last."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def _ask_for_large_pages(memory: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)


def _advise(tensor: Tensor, advice: int) -> None:
    """A kernel that doesn't know this advice leaves things as they are."""
    if sys.platform == "linux":
        _libc().madvise(tensor.data_ptr() // PAGE * PAGE, tensor.nbytes, advice)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc
