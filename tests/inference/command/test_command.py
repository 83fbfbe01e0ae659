"""`python -m inference` as somebody types it, on the real model, and its figures by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inference.__main__ import main
from inference.command.closed_loop import StreamResult, batches_of, figures, spread

PROMPTS = [
    {"messages": [{"role": "user", "content": "What is a lighthouse for?"}]},
    {"prompt": "Once upon a time"},
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, PROMPTS)) + "\n\n")
    return path


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("default_model_dir")
def test_bench_prints_one_object_per_width(
    prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "bench --model smollm2-135m-instruct --dtype fp32 --streams 1,2 --max-tokens 5"
    assert main([*options.split(), "--prompts", str(prompts), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["streams"] for line in lines] == [1, 2]
    assert [line["requests"] for line in lines] == [3, 4]
    for line in lines:
        assert line["completion_tokens"] == 5 * line["requests"]
        assert line["prompt_tokens"] > 0
        assert 0 < line["ttft_ms"]["p50"] <= line["ttft_ms"]["p99"]
        assert 0 < line["tpot_ms"]["p50"] <= line["tpot_ms"]["p99"]
        assert line["tokens_per_s"] > 0
        assert line["dtype"] == "float32"


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("default_model_dir")
def test_chat_answers_what_is_piped_in() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inference", "chat", "--dtype", "fp32", "--max-tokens", "4",
         "--temperature", "0"],
        input="Say hello.\n\nAgain.\n",
        capture_output=True,
        text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2
    assert done.stderr.count("TTFT") == 2


@pytest.mark.usefixtures("default_model_dir")
def test_info_says_what_the_model_is_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 134_515_008
    assert found["end_tokens"] == {"2": "<|im_end|>"}
    assert main(["info"]) == 0
    assert "134,515,008" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nonsense", "line 2: "),
        ('{"text": "x"}', 'either "messages" or "prompt"'),
        ('{"prompt": 3}', '"prompt" must be text'),
        ('{"messages": ["x"]}', '"messages" must be a list of objects'),
        ('{"messages": [{"role": "king", "content": "x"}]}', "role must be one of"),
    ],
)
def test_a_bad_prompt_is_named_by_its_line(
    prompts: Path, line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts.write_text(json.dumps(PROMPTS[0]) + "\n" + line + "\n")
    assert main(["bench", "--prompts", str(prompts)]) == 1
    error = capsys.readouterr().err
    assert "line 2" in error
    assert told in error


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "no-such-model"], "no model folder"),
        (["--prompts", "/nonexistent.jsonl"], "can't be read"),
        (["--max-tokens", "0"], "max_tokens must lie between"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    prompts: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--prompts", str(prompts), *options]) == 1
    assert told in capsys.readouterr().err


def test_widths_out_of_range_are_refused(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--prompts", str(prompts), "--streams", "0,4"])
    assert "numbers from 1 to" in capsys.readouterr().err


# --- figures -------------------------------------------------------------------------------------


def test_every_prompt_is_asked_and_the_last_wave_is_full() -> None:
    assert batches_of([1, 2, 3], 2) == [[1, 2], [3, 1]]
    assert batches_of([1, 2], 5) == [[1, 2, 1, 2, 1]]


def test_figures_are_what_measures_say() -> None:
    batch = [StreamResult(10, 5, 0.1, 0.5), StreamResult(20, 5, 0.3, 0.7)]
    found = figures([batch])
    assert found["ttft_ms"] == {"p50": 100.0, "p99": 300.0}
    assert found["tpot_ms"] == {"p50": 100.0, "p99": 100.0}
    assert found["tokens_per_s"] == pytest.approx(10 / 0.7, abs=0.01)
    assert found["decode_tokens_per_s"] == pytest.approx(20.0)
    assert (found["prompt_tokens"], found["completion_tokens"]) == (30, 10)


def test_one_token_has_no_time_per_further_token() -> None:
    found = figures([[StreamResult(10, 1, 0.1, 0.1)]])
    assert found["tpot_ms"] == {"p50": None, "p99": None}
    assert found["decode_tokens_per_s"] is None


def test_percentiles_are_values_that_were_measured() -> None:
    assert spread([float(n) for n in range(1, 201)]) == {"p50": 100.0, "p99": 198.0}
    assert spread([]) == {"p50": None, "p99": None}
