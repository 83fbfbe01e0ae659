"""The cache of keys and values takes memory as it is used, and gives it back after a while."""

from __future__ import annotations

import sys
import threading

import pytest

from inference.engine import core
from inference.engine.backends.base import Unsupported
from inference.engine.native.native_backend import NativeBackend
from tests.inference.engine.test_memory import MB, resident

from .conftest import prompt_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(params=["torch", "native"])
def served_by(request) -> dict[str, str]:
    if request.param == "torch":
        return {"backend": "torch", "dtype": "float32"}
    try:
        NativeBackend(dtype="bfloat16")
    except Unsupported as error:
        pytest.skip(str(error))
    return {"backend": "native", "dtype": "bfloat16"}


def test_a_cache_of_four_gigabytes_takes_what_its_tokens_need(llama, bench, served_by):
    before = resident()
    engine = bench(llama, kv_cache_bytes=4 << 30, max_running=8192, step_tokens=8192, **served_by)
    engine.answer(prompt_of(500), max_tokens=4)
    stats = engine.engine.status()
    assert stats.kv_blocks_total * stats.kv_block_tokens > 1_900_000
    assert resident() - before < 200 * MB


def test_blocks_that_nobody_used_for_long_go_and_answers_stay_the_same(
    llama, bench, served_by, monkeypatch
):
    monkeypatch.setattr(core, "LOOK_FOR_BLOCKS_S", 0.01)
    engine = bench(llama, **served_by)
    prompt = prompt_of(500)
    expected = engine.answer(prompt, max_tokens=4)
    assert engine.listener.result(engine.ask(prompt, max_tokens=4)).cached_tokens > 400

    none_left = threading.Event()
    own = core.BlockPool.take_memory

    def take_memory(pool, **options):
        found = own(pool, **options)
        if not found:
            none_left.set()
        return found

    monkeypatch.setattr(core.BlockPool, "take_memory", take_memory)
    monkeypatch.setattr(core, "KEEP_FREE_BLOCKS_S", 0.0)
    assert none_left.wait(20)
    asked = engine.ask(prompt, max_tokens=4)
    assert engine.listener.tokens(asked) == expected
    assert engine.listener.result(asked).cached_tokens == 0
