"""The kernels of every instruction set that this CPU runs, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from inference.engine.native import isa
from inference.engine.native.build import KernelsUnavailable, load_kernels

WAYS = [each.name for each in isa.runnable()]
if "avx512" in WAYS and isa.cpu_features() >= isa.AMX:
    WAYS.insert(0, "avx512 with amx")


@pytest.fixture(scope="session", params=WAYS)
def kernels(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """A set's kernels, which are those of NativeBackend too. AVX-512's also on matrix registers."""
    name, _, matrix = request.param.partition(" with ")
    before = os.environ.get(isa.VARIABLE)
    os.environ[isa.VARIABLE] = name
    try:
        found = load_kernels()
    except KernelsUnavailable as error:
        pytest.skip(f"no native kernels here: {error}")
    else:
        found.want_matrix(bool(matrix))
        yield found
        found.want_matrix(True)
    finally:
        os.environ.pop(isa.VARIABLE)
        if before is not None:
            os.environ[isa.VARIABLE] = before


@pytest.fixture(autouse=True)
def one_thread_and_no_gradients() -> Iterator[None]:
    """Threads change no result (a test of its own says so) and cost much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)
