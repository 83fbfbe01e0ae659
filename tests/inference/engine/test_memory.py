"""Memory that comes with its first use and goes back: what the process holds says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from inference.engine import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MB = 1 << 20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_zeros_take_memory_where_they_are_written_to() -> None:
    before = resident()
    zeros = memory.lazy_zeros((1024, 1 << 18), torch.float32)  # a gigabyte
    assert resident() - before < 16 * MB
    assert zeros.shape == (1024, 1 << 18)
    zeros[:100] = 1  # 100 MB
    assert 90 * MB < resident() - before < 140 * MB
    assert zeros[100, 0] == 0


def test_what_is_given_back_is_zero_again_and_takes_nothing() -> None:
    zeros = memory.lazy_zeros((256, 1 << 18), torch.float32)
    zeros[:] = 1
    before = resident()
    memory.give_back(zeros[:128])
    assert before - resident() > 100 * MB
    assert not zeros[:128].any()
    assert zeros[128:].all()


def test_pages_that_others_share_stay() -> None:
    zeros = memory.lazy_zeros((3, memory.PAGE), torch.uint8)
    zeros[:] = 1
    memory.give_back(zeros.view(-1)[100 : memory.PAGE * 2 + 100])
    assert zeros.view(-1)[: memory.PAGE].all()
    assert not zeros[1].any()
    assert zeros[2].all()


def test_a_mapped_file_is_what_is_in_it(tmp_path: Path) -> None:
    data = torch.randint(0, 256, (5 * MB,), dtype=torch.uint8)
    path = tmp_path / "file"
    path.write_bytes(data.numpy().tobytes())
    with path.open("rb") as file:
        mapped = memory.map_file(file.fileno(), 5 * MB)
    assert 0 <= memory.bring_in(mapped) <= 1
    assert torch.equal(mapped, data)
