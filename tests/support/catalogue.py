"""The strings of the site that are marked for translation, and what its catalogues hold of them.

Reads the sources as `makemessages` does, but by Python's own parser and without gettext's programs,
and sees more: a string inside an f-string, and one that is marked by another name than gettext's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
from django.template.base import Lexer, TokenType
from django.utils.translation.template import templatize

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "locale" / "pt_BR" / "LC_MESSAGES"

Key = tuple[str, str]
"""Context ("" for none) and the English string, the singular where there is a plural."""

TEXTS = {"gettext": 0, "ngettext": 0, "pgettext": 1, "npgettext": 1}
"""Where in a call of that name the string stands; a context comes before it."""
CALL = re.compile(r"""\b(n?p?gettext|_)\((?:u?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')(?:, )?)+""")


def marked() -> set[Key]:
    """Every string of the Python packages and the templates that is marked for translation."""
    found: set[Key] = set()
    for package in ("chatsite", "inference"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            found.update(in_python(path.read_text()))
    for path in templates():
        found.update(in_template(path.read_text()))
    return found


def templates() -> list[Path]:
    return sorted((REPOSITORY / "templates").rglob("*.html"))


def in_python(source: str) -> Iterator[Key]:
    """The marked strings of a module, whatever it calls gettext."""
    tree = ast.parse(source)
    names = {"_": "gettext"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation":
            names.update({alias.asname or alias.name: alias.name for alias in node.names})
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        name = names.get(called, called).removesuffix("_lazy").removesuffix("_noop")
        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if name in TEXTS and len(texts) > TEXTS[name] and isinstance(node.args[0], ast.Constant):
            yield (texts[0] if TEXTS[name] else "", texts[TEXTS[name]])


def in_template(source: str) -> Iterator[Key]:
    """The marked strings of a template."""
    for call in CALL.finditer(templatize(source)):
        yield from in_python(call[0].rstrip(", ") + ")")


def unmarked(source: str) -> Iterator[str]:
    """What a template says without a translation: its text, and the attributes that people read."""
    shown = ""
    is_marked = False
    for token in Lexer(source).tokenize():
        if token.token_type is TokenType.TEXT:
            shown += "" if is_marked else token.contents
        elif token.contents.startswith("blocktranslate"):
            is_marked = True
        elif token.contents.startswith("endblocktranslate"):
            is_marked = False
        else:
            shown += "\0"
    yield from re.findall(r'\b(?:title|alt|placeholder|aria-label|label)="([^"\0]+)', shown)
    for element in ("script", "style", "kbd", "code"):
        shown = re.sub(rf"<{element}\b.*?</{element}>", "", shown, flags=re.DOTALL)
    yield from re.split(r"<[^>]*>|\0|&\w+;", shown)


def translations() -> polib.POFile:
    return polib.pofile(str(FOLDER / "django.po"))


def compiled() -> polib.MOFile:
    return polib.mofile(str(FOLDER / "django.mo"))


def key_of(entry: polib.POEntry | polib.MOEntry) -> Key:
    return entry.msgctxt or "", entry.msgid


def texts_of(entry: polib.POEntry | polib.MOEntry) -> list[str]:
    """The translation, or those of singular and plural."""
    if entry.msgid_plural:
        return [entry.msgstr_plural[number] for number in sorted(entry.msgstr_plural)]
    return [entry.msgstr]
