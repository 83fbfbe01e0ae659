"""A model split over two real processes answers as transformers' own generate does, and ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from inference.engine.config import EngineConfig
from inference.engine.inspection.inspector import InspectionRequest
from inference.engine.loader import ModelLoader, TextArtifacts
from inference.engine.parallel import tp_group
from tests.inference.engine.conftest import Bench, generate, prompt_of, small_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        torch.cuda.is_available(), reason="where there are GPUs, parts go there: see tests/gpu"
    ),
]

PROMPTS = [prompt_of(n, seed=n) for n in (5, 190, 40, 11)]


def folder_of(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def split(folder: Path, **config: Any) -> Bench:
    """An engine of two processes on that folder's model, whose answers end by length alone."""
    loader = ModelLoader(
        lambda *_: pytest.fail("each rank loads its own shard"), lambda: TextArtifacts()
    )
    settings: dict[str, Any] = {"tensor_parallel": 2, "threads": 2, **config}
    return Bench(None, loader=loader, model_dir=folder, **settings)


def state(bench: Bench, timeout_s: float = 60.0) -> str:
    """That it is ready, or why the engine failed."""
    end = time.monotonic() + timeout_s
    while (status := bench.engine.status()).state not in ("ready", "failed"):
        assert time.monotonic() < end, status.state_detail
        time.sleep(0.02)
    return status.state_detail if status.state == "failed" else "ready"


def rank_workers(of: psutil.Process | None = None) -> list[psutil.Process]:
    """The live rank workers among a process's children."""
    found = []
    for child in (of or psutil.Process()).children():
        is_rank = any("inference.engine.parallel.rank_worker" in word for word in child.cmdline())
        if is_rank and child.status() != psutil.STATUS_ZOMBIE:
            found.append(child)
    return found


def end(benches: list[Bench]) -> None:
    """Stop them: a process has one split model at a time."""
    while benches:
        assert benches.pop().engine.stop(10.0)
    assert rank_workers() == []


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(small_model(), tmp_path_factory.mktemp("models") / "small-llama")


@pytest.fixture(scope="module")
def started() -> Iterator[list[Bench]]:
    benches: list[Bench] = []
    yield benches
    end(benches)


@pytest.fixture
def two(llama_folder: Path, started: list[Bench]) -> Bench:
    """A llama in two processes: that of the test before, unless it was broken."""
    if started and started[-1].engine.status().state == "failed":
        end(started)  # it says that it failed before its processes have ended
    if not started:
        started.append(split(llama_folder, step_tokens=64, kv_cache_bytes=8 << 20))
        assert state(started[-1]) == "ready"
    return started[-1]


def test_a_split_llama_answers_as_generate_does(two, llama):
    expected = [generate(llama, prompt, 20) for prompt in PROMPTS]
    assert two.answer(PROMPTS[0], max_tokens=20) == expected[0], "alone"
    assert "split over 2 processes" in two.engine.status().path
    assert len(rank_workers()) == 1
    # 16 tokens of 4 layers with 2 heads of 32 floats, keys and values: each part keeps one head.
    assert two.engine.status().kv_blocks_total == (8 << 20) // (16 * 4 * 2 * 32 * 4 * 2)
    ids = [two.ask(prompt, max_tokens=20) for prompt in PROMPTS]  # 190 tokens take three steps
    assert [two.listener.tokens(request_id) for request_id in ids] == expected, "in a mixed batch"


def test_a_second_split_model_in_one_process_is_refused(two, llama_folder):
    other = split(llama_folder)
    assert "split by tensor_parallel already" in state(other)
    assert other.engine.stop(10.0)
    assert two.answer(PROMPTS[0], max_tokens=4), "the first goes on"


def test_a_split_model_cannot_be_looked_into(two):
    request = InspectionRequest(token_ids=tuple(PROMPTS[0]))
    with pytest.raises(ValueError, match="split by tensor_parallel can't be looked into"):
        two.engine.inspect(request).result(10.0)
    assert two.answer(PROMPTS[0], max_tokens=4), "and goes on answering"


def test_the_death_of_a_rank_worker_is_noticed_while_nobody_asks(two):
    (worker,) = rank_workers()
    worker.kill()
    end = time.monotonic() + 5.0
    while two.engine.status().state == "ready":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "was killed by signal 9" in state(two)


def test_the_death_of_a_rank_worker_ends_the_engine_with_a_sentence(two):
    request_id = two.ask(PROMPTS[0], max_tokens=900)
    two.listener.wait(lambda: two.listener.deltas(request_id))
    (worker,) = rank_workers()
    worker.kill()
    result = two.listener.result(request_id)
    sentence = f"part 1 of 2 of the model, process {worker.pid}, was killed by signal 9."
    assert (result.finish_reason, result.error_code) == ("failed", "engine_failed")
    assert result.error_text == two.engine.status().state_detail == sentence


def test_a_rank_worker_does_not_outlive_a_killed_rank_0(llama_folder):
    program = (
        "import sys, time; from pathlib import Path; from inference.engine.engine import Engine;"
        "from inference.engine.config import EngineConfig;"
        "engine = Engine(EngineConfig(model_dir=Path(sys.argv[1]), device='cpu', dtype='float32',"
        " threads=2, measure=False, tensor_parallel=2, kv_cache_bytes=1 << 24), emit=print);"
        "engine.start()\n"
        "while engine.status().state != 'ready': time.sleep(0.02)\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(llama_folder)], stdout=subprocess.PIPE, text=True
    ) as rank_0:
        assert rank_0.stdout is not None
        assert rank_0.stdout.readline() == "ready\n"
        (worker,) = rank_workers(psutil.Process(rank_0.pid))
        os.kill(rank_0.pid, signal.SIGKILL)
        rank_0.wait()
    _, alive = psutil.wait_procs([worker], timeout=5.0)
    assert alive == []


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen3", {"tie_word_embeddings": True, "vocab_size": 513}),
        ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    ],
)
def test_other_families_split_too(kind, changes, tmp_path, started):
    end(started)
    model = small_model(kind, num_hidden_layers=2, **changes)
    bench = split(folder_of(model, tmp_path / kind))
    try:
        ids = [bench.ask(prompt, max_tokens=12) for prompt in PROMPTS]
        expected = [generate(model, prompt, 12) for prompt in PROMPTS]
        assert [bench.listener.tokens(request_id) for request_id in ids] == expected
    finally:
        assert bench.engine.stop(10.0)


@pytest.mark.parametrize(
    ("kind", "changes", "config", "reason"),
    [
        ("llama", {"num_key_value_heads": 1}, {}, "num_key_value_heads of 1 is no multiple of 2"),
        ("llama", {"intermediate_size": 97}, {}, "intermediate_size of 97"),
        ("gpt2", {"n_layer": 1, "n_head": 4}, {}, "no plan for gpt2"),
        ("llama", {}, {"dtype": "int8"}, "can't be split in int8"),
        ("llama", {}, {"dtype": "bfloat16", "backend": "native"}, "with the native backend"),
    ],
)
def test_what_cannot_be_split_is_refused_by_name(kind, changes, config, reason, tmp_path):
    model = small_model(kind, num_hidden_layers=1, **changes)
    bench = split(folder_of(model, tmp_path / "tiny-model"), **config)
    said = state(bench)
    assert "tiny-model" in said
    assert reason in said
    assert bench.engine.stop(10.0)


def test_a_number_of_processes_below_one_is_refused():
    with pytest.raises(ValueError, match="tensor_parallel must be at least 1, not 0"):
        EngineConfig(model_dir=Path(), tensor_parallel=0)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(3)", r"part 1 of 2 of the model, process \d+, ended with 3."),
        (
            "import sys; from multiprocessing.connection import Connection;"
            "Connection(int(sys.argv[1])).send(('failed', 'there is no room.'))",
            "part 1 of 2 failed: there is no room.",
        ),
    ],
)
def test_a_rank_worker_that_cannot_start_says_why(
    program, reason, llama_folder, monkeypatch, started
):
    end(started)
    monkeypatch.setattr(tp_group, "PROGRAM", program)
    bench = split(llama_folder)
    assert re.fullmatch(reason, state(bench))
    assert bench.engine.stop(10.0)
