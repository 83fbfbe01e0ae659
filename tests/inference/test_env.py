"""Environment variables are read in one way by site, queue and worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from inference import env

NAME = "CHATSITE_TEST_VARIABLE"


@pytest.fixture(autouse=True)
def _a_variable_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "VARIABLES", env.VARIABLES | {NAME})


def test_a_variable_that_is_not_named_can_not_be_read() -> None:
    with pytest.raises(LookupError, match="CHATSITE_OTHER"):
        env.text("CHATSITE_OTHER")


@pytest.mark.parametrize(
    ("value", "read", "expected"),
    [
        ("12", partial(env.whole_number, default=3, low=1), 12),
        ("0.5", partial(env.number, default=3.0, low=0.1), 0.5),
        ("Yes", partial(env.boolean, default=False), True),
        ("off", partial(env.boolean, default=True), False),
        ("b", partial(env.choice, default="a", allowed=("a", "b")), "b"),
        ("a, b,,c ", partial(env.words, default=[]), ["a", "b", "c"]),
    ],
)
def test_a_value_is_read_and_an_empty_one_is_none(
    monkeypatch: pytest.MonkeyPatch, value: str, read: Callable[[str], Any], expected: object
) -> None:
    monkeypatch.setenv(NAME, value)
    assert read(NAME) == expected
    monkeypatch.delenv(NAME)
    default = read(NAME)
    monkeypatch.setenv(NAME, "")
    assert read(NAME) == default
    assert default != expected


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("-1", partial(env.whole_number, default=3, low=0)),
        ("²", partial(env.whole_number, default=3, low=0)),
        ("1.5", partial(env.whole_number, default=3, low=0)),
        ("inf", partial(env.number, default=3.0, low=0.1)),
        ("nan", partial(env.number, default=3.0, low=0.1)),
        ("0.01", partial(env.number, default=3.0, low=0.1)),
        ("perhaps", partial(env.boolean, default=False)),
        ("c", partial(env.choice, default="a", allowed=("a", "b"))),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str, read: Callable[[str], Any]
) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(env.InvalidVariable, match=f"{NAME}.*{value!r}"):
        read(NAME)
