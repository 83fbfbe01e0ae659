"""References inside a JSON schema: whether they lead somewhere, and whether anything fits at all.

A schema can ask for a value that holds another of its kind without end ({"$ref": "#"} is the
shortest such). Nothing fits it, and an answer to it would be empty or never end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

MAX_VISITS = 20_000
"""Schemas that are looked at before one is taken to have an instance; a bound on the work."""


class BadReference(ValueError):
    """A reference that leads nowhere, or out of the schema; the text says which."""


def pointer(place: str, key: str | int) -> str:
    """The JSON pointer of what stands under `key` (RFC 6901)."""
    return f"{place}/{str(key).replace('~', '~0').replace('/', '~1')}"


class References:
    """The references of one schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self._has_names = any("$id" in one or "$anchor" in one for one in _objects(schema))

    def check(self) -> None:
        """Raise BadReference for one that leads nowhere. Names ($id, $anchor) are the engine's."""
        for one in _objects(self._root):
            reference = one.get("$ref")
            if isinstance(reference, str) and not self._has_names:
                self.target(reference)

    def target(self, reference: str) -> Any:
        """What the reference leads to. Raises BadReference."""
        if not reference.startswith("#"):
            raise BadReference(
                f"the reference {reference[:100]!r} leads out of the schema; nothing is fetched."
            )
        at: Any = self._root
        for key in unquote(reference[1:]).split("/")[1:]:
            name = key.replace("~1", "/").replace("~0", "~")
            if isinstance(at, Mapping) and name in at:
                at = at[name]
            elif isinstance(at, list) and name.isdecimal() and int(name) < len(at):
                at = at[int(name)]
            else:
                raise BadReference(f"the reference {reference[:100]!r} leads nowhere.")
        return at


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a JSON value, also those that are values and no schemas."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def has_instance(schema: Mapping[str, Any]) -> bool:
    """Whether some finite value may fit. False only where it is certain that none does."""
    return _Search(schema).finds(schema, frozenset())


class _Search:
    """Looks for a finite instance: one that needs none of the references it is inside of."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._references = References(root)
        self._found: set[str] = set()  # references that have one
        self._visits = 0

    def finds(self, schema: Any, inside: frozenset[str]) -> bool:
        self._visits += 1
        if not isinstance(schema, Mapping):
            return schema is not False
        if self._visits > MAX_VISITS:
            return True
        reference = schema.get("$ref")
        if isinstance(reference, str) and not self._follows(reference, inside):
            return False
        for name in ("anyOf", "oneOf"):
            choices = schema.get(name)
            if isinstance(choices, list) and not any(self.finds(c, inside) for c in choices):
                return False
        parts = schema.get("allOf")
        if isinstance(parts, list) and not all(self.finds(part, inside) for part in parts):
            return False
        if "const" in schema or "enum" in schema:
            return True
        kind = schema.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        return any(self._finds_kind(one, schema, inside) for one in kinds) or not kinds

    def _follows(self, reference: str, inside: frozenset[str]) -> bool:
        if reference in inside:
            return False
        if reference in self._found:
            return True
        try:
            target = self._references.target(reference)
        except BadReference:
            return True  # by a name: the engine's to find
        found = self.finds(target, inside | {reference})
        if found:
            self._found.add(reference)
        return found

    def _finds_kind(self, kind: Any, schema: Mapping[str, Any], inside: frozenset[str]) -> bool:
        if kind == "object":
            properties, required = schema.get("properties"), schema.get("required")
            if not isinstance(properties, Mapping) or not isinstance(required, list):
                return True
            needed = [properties[n] for n in required if isinstance(n, str) and n in properties]
            return all(self.finds(one, inside) for one in needed)
        if kind == "array":
            least, items = schema.get("minItems"), schema.get("items")
            if not isinstance(least, int) or least < 1:
                return True
            first = schema.get("prefixItems")
            first = first if isinstance(first, list) else []
            needed = first[:least] + ([items] if least > len(first) and items is not None else [])
            return all(self.finds(one, inside) for one in needed)
        return True
