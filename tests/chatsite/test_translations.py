"""Nothing is said in English alone: every string has its Portuguese, and that is what is read."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import polib
import pytest

from tests.support import catalogue

HOW = "`make messages` collects new strings; CONTRIBUTING.md says how they are translated."
PLACE = re.compile(r"%\(\w+\)[a-z]|%[a-z](?![a-z])|\{\w+\}|</?\w+>")
SAME_EVERYWHERE = {
    "chatsite", "chat", "history", "inspect", "keys", "latency",  # the name, and classes of the body
    "API", "CSV", "JSON", "OpenAPI", "TPOT", "TTFT", "dtype", "ms", "p50", "p95", "p99",
    "Alt", "Del", "End", "Esc",
}  # fmt: skip
"""Words in templates that aren't translated: names, units, figures, keys."""


@pytest.fixture(scope="module")
def entries() -> list[polib.POEntry]:
    return list(catalogue.translations())


def test_every_string_is_in_the_catalogue_and_nothing_else_is(
    entries: list[polib.POEntry],
) -> None:
    there = {catalogue.key_of(entry) for entry in entries if not entry.obsolete}
    marked = catalogue.marked()
    assert marked - there == set(), HOW
    assert there - marked == set(), HOW


def test_every_string_is_translated_and_nobody_left_a_guess(entries: list[polib.POEntry]) -> None:
    assert [e.msgid for e in entries if not e.translated() or e.fuzzy or e.obsolete] == [], HOW


def test_what_django_reads_is_what_was_translated(entries: list[polib.POEntry]) -> None:
    """Django reads the .mo file, which is kept in the repository: a machine may lack msgfmt."""
    written = {catalogue.key_of(entry): catalogue.texts_of(entry) for entry in entries}
    read = {catalogue.key_of(entry): catalogue.texts_of(entry) for entry in catalogue.compiled()}
    assert read == written, HOW


def test_a_translation_keeps_the_places_and_the_end_of_its_sentence(
    entries: list[polib.POEntry],
) -> None:
    broken = []
    for entry in entries:
        originals = filter(None, (entry.msgid, entry.msgid_plural))
        for english, portuguese in zip(originals, catalogue.texts_of(entry), strict=True):
            places, kept = (Counter(PLACE.findall(text)) for text in (english, portuguese))
            ends_alike = english[-1] not in ".…:?" or english[-1] == portuguese[-1]
            if places != kept or not ends_alike:
                broken.append((english, portuguese))
    assert broken == []


@pytest.mark.parametrize("path", catalogue.templates(), ids=lambda path: path.name)
def test_a_template_says_nothing_without_a_translation(path: Path) -> None:
    said = [text.strip() for text in catalogue.unmarked(path.read_text())]
    words = {text: set(re.findall(r"[^\W\d_]\w+", text)) for text in said}
    assert [text for text, found in words.items() if found - SAME_EVERYWHERE] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from django.utils.translation import gettext as _t\n_t('a')", {("", "a")}),
        ("_('a ' 'b')", {("", "a b")}),
        ("f'{_(\"a\")}'", {("", "a")}),
        ("from django.utils import translation\ntranslation.pgettext('c', 'a')", {("c", "a")}),
        ("ngettext('one', 'many', n)", {("", "one")}),
        ("_(code.sentence)", set()),
    ],
)
def test_strings_are_found_in_python(source: str, found: set[catalogue.Key]) -> None:
    assert set(catalogue.in_python(source)) == found


def test_strings_are_found_in_templates() -> None:
    source = (
        '{% load i18n %}<p title="{% translate \'a\' %}">{% translate "b" context "c" %}'
        "{% blocktranslate count n=3 %}{{ n }} one{% plural %}{{ n }} many{% endblocktranslate %}"
        '{{ x|default:_("d") }} bare <b title="bare too">'
    )
    assert set(catalogue.in_template(source)) == {
        ("", "a"), ("c", "b"), ("", "%(n)s one"), ("", "d"),
    }  # fmt: skip
    assert [text.strip() for text in catalogue.unmarked(source) if text.strip()] == [
        "bare too",
        "bare",
    ]
