"""The tables and the figure that are made of what bench/engine.py measured."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from bench import engine, figure, two_models
from inference.command.closed_loop import StreamResult, figures
from inference.text import DEFAULT_SLUG, load_text, models_dir

ROOT = Path(__file__).resolve().parents[2]


def measured(**speeds: float) -> dict[str, dict[int, dict[str, Any]]]:
    """Engines of so many seconds per token at 1 and 4 streams."""
    return {
        name.replace("_", " "): {
            streams: figures([[StreamResult(50, 11, pace, 11 * pace)] * streams])
            for streams in (1, 4)
        }
        for name, pace in speeds.items()
    }


def test_ratios_take_the_fastest_of_theirs() -> None:
    found = measured(chatsite_int4=0.01)
    found |= {"llama.cpp Q4_0": measured(x=0.02)["x"], "llama.cpp Q4_1": measured(x=0.04)["x"]}
    assert "| int4 / llama.cpp's fastest 4-bit | 2.00 | 2.00 |" in engine.ratios(found)


def test_tables_have_a_row_per_engine_and_width() -> None:
    table = engine.table(measured(chatsite_int4=0.01, chatsite_bf16=0.02))
    assert table.count("| chatsite int4 |") == 2
    assert "### 4 streams" in table


def test_the_figure_is_one_picture_with_a_line_per_engine_in_each_half() -> None:
    record = {
        "machine": {"cpu": "A & B", "cores": 2, "date": "2026-01-01"},
        "model": "m",
        "weights": "dequantised from Q4_1",
        "prompts": [35, 290],
        "max_tokens": 64,
        "figures": json.loads(json.dumps(measured(chatsite_int4=0.01, chatsite_bf16=0.02))),
    }
    root = ET.fromstring(figure.draw(record))
    lines = [node for node in root.iter() if node.tag.endswith("polyline")]
    assert len(lines) == 4
    assert "dequantised from Q4_1" in "".join(root.itertext())


def test_the_prompts_are_of_the_lengths_that_the_documents_say() -> None:
    text = load_text(models_dir() / DEFAULT_SLUG)
    lines = (ROOT / "bench" / "prompts.jsonl").read_text().splitlines()
    lengths = [text.count(json.loads(line)["messages"]) for line in lines]
    assert (len(lengths), min(lengths), max(lengths)) == (32, 35, 290)


def test_a_shape_is_compared_in_every_format_of_llama_cpp() -> None:
    names = [entry.name for entry in engine.entries(Path("m"), Path("m.gguf"), is_bfloat16=True)]
    assert [name for name in names if "llama" in name] == [
        "llama.cpp BF16",
        "llama.cpp Q4_0",
        "llama.cpp Q8_0",
    ]


def test_an_engine_that_keeps_less_than_a_third_of_its_speed_starves() -> None:
    apart, at_once = (
        [figures([[StreamResult(50, 11, pace, 11 * pace)]]) for pace in paces]
        for paces in ((0.01, 0.02), (0.02, 0.08))
    )
    rows = two_models.shares(["a", "b"], apart, at_once)
    assert [row["share"] for row in rows] == [0.5, 0.25]
    text = two_models.table(rows)
    assert "b starves: 25%" in text
    assert "a starves" not in text
