"""The kernels, or a skip that says why this machine has none."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from inference.engine.native.build import KernelsUnavailable, load_kernels


@pytest.fixture(scope="session")
def kernels() -> ModuleType:
    try:
        return load_kernels()
    except KernelsUnavailable as error:
        pytest.skip(f"no native kernels here: {error}")


@pytest.fixture(autouse=True)
def one_thread_and_no_gradients():
    """Threads change no result (a test of its own says so) and cost much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


@pytest.fixture(params=["matrix registers", "vectors"])
def registers(request, kernels):
    """Every product both ways, where the CPU has both."""
    if request.param == "vectors":
        kernels.want_matrix(False)
    elif not kernels.use_matrix():
        pytest.skip("this CPU has no matrix registers")
    yield
    kernels.want_matrix(True)
