"""No number on the page is made up, and no sentence is missing."""

from __future__ import annotations

import re
from pathlib import Path

from chatsite.inspect.js_messages import strings

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = sorted((ROOT / "static" / "js" / "inspect").glob("*.js"))
MODULES = sorted((ROOT / "chatsite" / "inspect").glob("*.py"))
RANDOM = re.compile(r"Math\.random|getRandomValues|\brandom\b(?!UUID)|np\.random", re.IGNORECASE)
KEY = re.compile(r'translate\((?:\w+ (?:\?|===)[^"]*)?"(\w+)"')
"""A key that stands in the call; the others are made of a prefix and a value."""


def test_nothing_that_is_shown_is_random() -> None:
    for path in (*SCRIPTS, *MODULES):
        assert not RANDOM.search(path.read_text().replace("one random number decides", "")), path


def test_every_sentence_that_a_script_says_is_there() -> None:
    known = strings()
    for path in SCRIPTS:
        for key in KEY.findall(path.read_text()):
            assert key in known, f"{path.name}: {key}"
    for prefix in ("tint", "owner", "column"):
        assert any(key.startswith(f"{prefix}_") for key in known)


def test_every_sentence_is_said() -> None:
    said = "".join(path.read_text() for path in SCRIPTS)
    prefixes = ("tint_", "owner_", "column_", "cut_")
    unused = [key for key in strings() if f'"{key}"' not in said and not key.startswith(prefixes)]
    # The kinds of numbers are translated by their own names; tokens() of the chat's i18n.js is used.
    assert set(unused) <= {"measured", "derived", "assumed", "token", "tokens"}
