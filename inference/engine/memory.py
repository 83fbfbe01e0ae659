"""How much memory this process and its device use and have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in use by this process, free for it, and there are in all; 0 where unknown."""

    used: int = 0
    free: int = 0
    total: int = 0


def memory(device: torch.device) -> Memory:
    """The device's own memory on CUDA, the process's share of the host's on a CPU."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(used=torch.cuda.memory_allocated(device), free=free, total=total)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Memory()
    host = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    used = pages * os.sysconf("SC_PAGE_SIZE")
    return Memory(used=used, free=host.get("MemAvailable", 0), total=host.get("MemTotal", 0))
