"""Which errors mean that memory ran out."""

from __future__ import annotations

import pytest
import torch

from inference.engine.device import is_out_of_memory


def test_a_failed_allocation_is_recognised_and_other_errors_are_not() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_out_of_memory(caught.value), caught.value
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("pages were allocated twice"))
