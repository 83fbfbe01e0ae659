"""A caller's JSON schema made into one that the grammar engine holds an answer to as it is meant.

The engine refuses keywords that it doesn't know, rounds large numbers and takes schemas that
nothing fits. Here unknown formats are dropped, since a format is a remark; keywords that only
narrow what fits are dropped unless the caller is strict; numbers are kept exact; and what can't be
had is refused with its place. What remains is the engine's to judge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from chatsite.api.serving.schema_references import References, has_instance, pointer

FORMATS = {
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid",
}  # fmt: skip
"""The formats that the engine holds a text to."""

NARROWING = {
    "uniqueItems", "propertyNames", "not", "if", "then", "else", "contains", "minContains",
    "maxContains", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems",
    "unevaluatedProperties",
}  # fmt: skip
"""Keywords that the engine doesn't know and that only narrow what fits."""

ONE = ("additionalProperties", "items", "additionalItems")
BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
SEVERAL = ("anyOf", "allOf", "prefixItems", "items")
LOWER, UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
MOST = 2**62  # the engine counts bounds in 64 bits; rounding must not reach their end
LAYOUT = (", ", ": ")  # how the engine spaces JSON


class UnusableSchema(ValueError):
    """This schema can't be followed; the text says why and where, for its author."""


def normalised(schema: Mapping[str, Any], *, is_strict: bool = False) -> dict[str, Any]:
    """The schema for the engine. Raises UnusableSchema.

    Without `is_strict` keywords that only narrow what fits are left out where the engine can't
    keep them, and oneOf may be any of its schemas.
    """
    references = References(schema)
    references.check()
    made = _Normaliser(is_strict=is_strict).of(schema, "#")
    if not isinstance(made, dict) or not has_instance(made):
        raise UnusableSchema("nothing fits it: every value would have to hold another without end.")
    return made


def literal_grammar(schema: Mapping[str, Any]) -> str | None:
    """A grammar, in Lark's notation, for a `const` or `enum` with numbers that the engine rounds.

    None for every other schema.
    """
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or all(map(_is_exact, values)) or not values:
        return None
    if set(schema) & {*BY_NAME[:2], *SEVERAL, *ONE, *LOWER, *UPPER, "$ref", "oneOf", "multipleOf"}:
        return None
    if (kind := schema.get("type")) is not None:
        kinds = kind if isinstance(kind, list) else [kind]
        values = [value for value in values if _kind_of(value) & set(kinds)]
    if not values:
        return None
    texts = [json.dumps(value, ensure_ascii=False, separators=LAYOUT) for value in values]
    return "start: " + " | ".join(map(json.dumps, texts))


class _Normaliser:
    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict

    def of(self, schema: Any, place: str) -> Any:
        """One schema and all in it; `place` is its JSON pointer."""
        if not isinstance(schema, Mapping):
            return schema
        if schema.get("not") in ({}, True) and "not" in schema:
            return False
        made = dict(schema)
        made.pop("x-guidance", None)
        if "json-schema.org" not in str(made.get("$schema", "json-schema.org")):
            del made["$schema"]
        if made.get("format") not in FORMATS:
            made.pop("format", None)
        self._leave_out(made, place)
        self._one_of(made)
        for name in ONE:
            if isinstance(made.get(name), Mapping):
                made[name] = self.of(made[name], pointer(place, name))
        for name in BY_NAME:
            if isinstance(made.get(name), Mapping):
                inside = pointer(place, name)
                made[name] = {k: self.of(v, pointer(inside, k)) for k, v in made[name].items()}
        for name in SEVERAL:
            if isinstance(made.get(name), list):
                made[name] = [
                    self.of(one, pointer(pointer(place, name), n))
                    for n, one in enumerate(made[name])
                ]
        self._keep_exact(made, place)
        return made

    def _leave_out(self, made: dict[str, Any], place: str) -> None:
        found = sorted(NARROWING & set(made))
        if found and self._is_strict:
            raise UnusableSchema(
                f"'{found[0]}' at {place} can't be kept; without 'strict' it is left out."
            )
        for name in found:
            del made[name]

    def _one_of(self, made: dict[str, Any]) -> None:
        """Make oneOf anyOf. With 'strict' the engine decides whether that is the same."""
        if "oneOf" not in made or (self._is_strict and "discriminator" not in made):
            if isinstance(made.get("oneOf"), list):
                made["oneOf"] = [self.of(one, "#") for one in made["oneOf"]]
            return
        choices = made.pop("oneOf")
        if "anyOf" in made:
            others = made.pop("anyOf")
            both = [{"anyOf": choices}, {"anyOf": others}]
            made["allOf"] = [*made.get("allOf", []), *both]
        else:
            made["anyOf"] = choices

    def _keep_exact(self, made: dict[str, Any], place: str) -> None:
        for name in ("const", "enum"):
            if name in made and not _is_exact(made[name]):
                raise UnusableSchema(
                    f"'{name}' at {place} holds a number that can't be kept exactly inside of "
                    f"another value. Up to 2^53 every integer can, or let it be a string."
                )
        for name in (*LOWER, *UPPER):
            value = made.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._bound(made, name, value, place)

    def _bound(self, made: dict[str, Any], name: str, value: float, place: str) -> None:
        """Replace a bound that the engine would round by the next one inside that it keeps."""
        is_lower = name in LOWER
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or abs(value) <= 2**53:
            return
        if (value > MOST) if is_lower else (value < -MOST):
            raise UnusableSchema(f"'{name}' at {place} is beyond the numbers that can be kept.")
        del made[name]
        value = max(-(2**63), min(value, 2**63))
        if name.startswith("exclusive"):
            value += 1 if is_lower else -1
        kept: float = max(_double(value, up=True), -MOST)
        if not is_lower:
            kept = min(_double(value), MOST)
        inclusive = "minimum" if is_lower else "maximum"
        other = made.get(inclusive)
        if isinstance(other, int | float) and not isinstance(other, bool):
            kept = max(kept, other) if is_lower else min(kept, other)
        made[inclusive] = kept


def _double(value: int, *, up: bool = False) -> int:
    """The nearest integer that a double holds, not above `value`, or with `up` not below."""
    near = int(float(value))
    if up:
        return near if near >= value else int(math.nextafter(float(value), math.inf))
    return near if near <= value else int(math.nextafter(float(value), -math.inf))


def _is_exact(value: Any) -> bool:
    """Whether the engine keeps every number in it."""
    if isinstance(value, Mapping):
        return all(map(_is_exact, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_is_exact, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return abs(value) <= MOST and float(value) == value


def _kind_of(value: Any) -> set[str]:
    """The names of the types that the value is of."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
        case _:
            return {"object"}
