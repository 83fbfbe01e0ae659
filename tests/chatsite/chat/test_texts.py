"""Titles that conversations get by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsite.chat.texts import AUTO_TITLE_CHARS, auto_title


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is a river?", "What is a river?"),
        ("  \n\nWhat is\ta  river?\nTell me.", "What is a river?"),
        ("```python\nprint(1)\n```\nWhy?", "Why?"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("~~~\n```\nx = 1\n```\n~~~\nWhy?", "Why?"),
        ("````md\n```\na\n```\n````", "a"),
        ("# A heading\n\nText", "A heading"),
        ("> - quoted point", "quoted point"),
        ("---\n\nAfter a rule", "After a rule"),
        ("-1 is a number", "-1 is a number"),
        ("#hashtag", "#hashtag"),
        ("???", "???"),
        ("```", "```"),
        ("🧱🧱", "🧱🧱"),
        ("学习语言", "学习语言"),
        ("word " * 40, "word " * 11 + "word…"),
    ],
)
def test_a_title_is_the_first_line_with_words(text: str, title: str) -> None:
    assert auto_title(text) == title


@given(st.text(alphabet="`~#>-* \nab1é", min_size=1).filter(str.strip))
def test_every_text_gets_a_title_on_one_line(text: str) -> None:
    title = auto_title(text)
    assert title and title == " ".join(title.split())
    assert len(title) <= AUTO_TITLE_CHARS + 1
