"""One figure is written one way: in the pages that Django makes and in the browser."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from django.conf import settings
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Page

from chatsite import figure_format
from tests.support.chromium import script_page

LANGUAGES = tuple(code for code, _name in settings.LANGUAGES)


@pytest.mark.parametrize(
    ("ms", "english", "portuguese"),
    [
        (3707.624, "3,708 ms", "3.708 ms"),  # was "3,707 ms" on one page and "3,708 ms" on another
        (0, "0 ms", "0 ms"),
        (0.001, "<0.01 ms", "<0,01 ms"),
        (0.005, "0.01 ms", "0,01 ms"),
        (8.41, "8.41 ms", "8,41 ms"),
        (9.996, "10.0 ms", "10,0 ms"),
        (24.05, "24.1 ms", "24,1 ms"),
        (99.96, "100 ms", "100 ms"),
        (9999.4, "9,999 ms", "9.999 ms"),
        (9999.5, "10.0 s", "10,0 s"),
        (61_249, "61.2 s", "61,2 s"),
        (61_250, "61.3 s", "61,3 s"),
        (-12.34, "-12.3 ms", "-12,3 ms"),
        (-0.001, "0.00 ms", "0,00 ms"),
    ],
)
def test_a_duration_is_rounded_half_up_and_turns_to_seconds_at_ten(ms, english, portuguese) -> None:
    with translation.override("en"):
        assert figure_format.duration(ms) == english
    with translation.override("pt-br"):
        assert figure_format.duration(ms) == portuguese


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"), (0.00001, "<0.0001"), (0.031, "0.0310"), (0.4, "0.40"), (9.995, "10.0"),
        (41.23, "41.2"), (99.95, "100"), (1234.5, "1,235"),
    ],
)  # fmt: skip
def test_a_rate_that_is_not_zero_is_never_written_as_zero(value, words) -> None:
    assert figure_format.rate(value) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0 %"), (1, "100 %"), (0.0123, "1.2 %"), (0.0004, "0.040 %"), (0.000001, "<0.001 %")],
)
def test_a_share_is_written_in_percent(share, words) -> None:
    assert figure_format.percent(share) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [
        (999, "999 B"), (1000, "1.0 KB"), (99_949, "99.9 KB"), (99_950, "100 KB"),
        (999_600, "1.0 MB"), (538_090_408, "538 MB"), (4.2e15, "4,200 TB"),
    ],
)  # fmt: skip
def test_a_size_is_written_in_powers_of_a_thousand(num_bytes, words) -> None:
    assert figure_format.size(num_bytes) == words


def value_of(words: str) -> float:
    number, unit = words.removeprefix("<").replace(",", "").split(" ")
    return float(number) * {"ms": 1, "s": 1000}[unit]


@given(st.floats(min_value=0.005, max_value=1e9))
def test_what_is_written_is_within_half_a_digit_of_what_was_measured(ms: float) -> None:
    assert math.isclose(value_of(figure_format.duration(ms)), ms, rel_tol=0.006, abs_tol=0.005)


@given(st.lists(st.floats(min_value=0, max_value=1e8), min_size=2).map(sorted))
def test_a_longer_time_is_never_written_as_a_shorter_one(times: list[float]) -> None:
    for shorter, longer in pairwise(times):
        assert value_of(figure_format.duration(shorter)) <= value_of(figure_format.duration(longer))


# --- in the browser ------------------------------------------------------------------------------


def numbers() -> list[float]:
    """From nanoseconds to days: random ones, those beside each border, and exact halves."""
    draw = random.Random(10)
    found = [10 ** draw.uniform(-6, 8) for _ in range(4000)]
    found += [round(10 ** draw.uniform(-3, 7), 3) for _ in range(4000)]  # whole microseconds
    found += [
        draw.randrange(10_000) + half for half in (0.5, 0.05, 0.005, 0.0005) for _ in range(500)
    ]
    for border in (0.0001, 0.001, 0.005, 0.01, 0.1, 1, 10, 100, 1000, 10_000, 100_000):
        for nudge in (0, 1e-9, 4e-5, 5e-5, 5e-4, 5e-3, 5e-2, 0.5):
            found += [border - nudge, border + nudge, border * (1 + nudge), border * (1 - nudge)]
    return [0.0, 1.0, *found, *(-value for value in found[::20])]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with script_page() as made:
        yield made


@pytest.mark.browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_browser_writes_every_figure_as_the_site_does(page: Page, language: str) -> None:
    values = numbers()
    in_browser = page.evaluate(
        """async ([language, values]) => {
            const { FigureFormat } = await import("/js/figure-format.js");
            const format = new FigureFormat(language);
            return JSON.parse(values).map((value) => [
                format.duration(value), format.rate(value), format.percent(value), format.count(value),
            ]);
        }""",
        [language, json.dumps(values)],
    )
    with translation.override(language):
        on_site = [
            [
                figure_format.duration(value),
                figure_format.rate(value),
                figure_format.percent(value),
                figure_format.count(value),
            ]
            for value in values
        ]
    different = [
        (value, mine, theirs)
        for value, mine, theirs in zip(values, on_site, in_browser, strict=True)
        if mine != theirs
    ]
    assert different == []
