"""How figures are written for people."""

from __future__ import annotations

import pytest

from chatsite.dashboards.figures import how_often


@pytest.mark.parametrize(
    ("per_s", "words"),
    [
        (12.4, "12.4 per second"),
        (0.5, "30.0 per minute"),
        (1 / 600, "6.0 per hour"),
        (2 / 86_400, "2.0 per day"),
    ],
)
def test_rare_things_are_counted_by_the_hour_or_the_day(per_s: float, words: str) -> None:
    assert how_often(per_s) == words


def test_nothing_is_no_data() -> None:
    assert "no data" in how_often(None)
