"""Schemas as programs send them become such that the grammar engine keeps, or are refused in words.

The engine itself judges here: an answer is fed to it byte by byte.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, Field, SecretStr

from chatsite.api.error_responses import ApiError
from chatsite.api.schemas.chat_completions import ChatBody
from chatsite.api.serving.structured import Form, form_of
from inference.engine.sampling.grammar import BadSchema, Grammars
from tests.support.vocabularies import byte_level

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def grammars(tmp_path_factory: pytest.TempPathFactory) -> Grammars:
    folder = byte_level(tmp_path_factory.mktemp("v") / "m", special=["<|end|>"])
    return Grammars(folder / "tokenizer.json", vocab_size=257, eos_token_ids=[256])


def asked(schema: Any, *, strict: bool | None = None) -> Form:
    wrapped = {"name": "x", "schema": schema, "strict": strict}
    form = {"type": "json_schema", "json_schema": wrapped}
    found = form_of(ChatBody.model_validate({**CHAT, "response_format": form}))
    assert found is not None
    return found


def takes(grammars: Grammars, form: Form, answer: str) -> bool:
    """Whether the whole answer may be written, and the end behind it."""
    grammar = grammars.start(form.constraint.kind, form.constraint.text)
    letters = {grammars_byte: token for token, grammars_byte in enumerate(ALPHABET)}
    for byte in answer.encode():
        token = letters[byte]
        if grammar.forbidden()[token]:
            return False
        grammar.accept(token)
    return grammar.is_finished or not grammar.forbidden()[256]


def _alphabet() -> list[int]:
    from tests.support.vocabularies import letter_of

    letters = {letter_of(byte): byte for byte in range(256)}
    return [letters[letter] for letter in sorted(letters)]


ALPHABET = _alphabet()


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=2**63 - 1)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Everything(BaseModel):
    """What pydantic makes of the types that people use."""

    tags: set[str]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    secret: SecretStr
    home: AnyUrl
    path: Path
    took: timedelta
    at: datetime
    id: uuid.UUID
    price: Decimal = Field(max_digits=8, decimal_places=2)
    data: bytes
    counts: dict[Annotated[str, Field(pattern="^[a-z]+$")], int]
    big: int = Field(ge=-(2**63), lt=2**63)
    pair: tuple[int, str]
    maybe: float | None = None


def test_what_pydantic_makes_is_taken(grammars: Grammars) -> None:
    form = asked(Everything.model_json_schema())
    answer = {
        "tags": ["a", "a"], "pet": {"kind": "dog", "name": "Rex"}, "secret": "s",
        "home": "https://example.org/", "path": "/a/b", "took": "P1D",
        "at": "2024-01-01T00:00:00Z", "id": "12345678-1234-1234-1234-123456789abc",
        "price": 12.5, "data": "x", "counts": {"a": 1}, "big": -4611686018427387904,
        "pair": [1, "b"], "maybe": None,
    }  # fmt: skip
    assert takes(grammars, form, json.dumps(answer))


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        ({"type": "string", "format": "password"}, ['"x"'], ["1"]),
        ({"type": "string", "format": "date"}, ['"2024-01-31"'], ['"x"']),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, ["[1, 1]"], ['["a"]']),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, ['{"b": 1}'], ["1"]),
        ({"type": "string", "not": {"const": "x"}}, ['"y"'], ["1"]),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ["1", "1.5"], ['"x"']),
        ({"oneOf": [{"type": "integer"}], "anyOf": [{"minimum": 3}]}, ["4"], ["2", "4.5"]),
        ({"const": 9007199254740993}, ["9007199254740993"], ["9007199254740992"]),
        ({"enum": [-(2**63), 2**64 + 1, "a"]}, [str(-(2**63)), str(2**64 + 1), '"a"'], ["1"]),
        ({"const": {"a": -(10**20)}}, [f'{{"a": {-(10**20)}}}'], ['{"a": 1}']),
        ({"type": "integer", "minimum": 2**53 + 1}, [str(2**53 + 2)], [str(2**53)]),
        ({"type": "integer", "maximum": 2**53 + 1}, [str(2**53)], [str(2**53 + 2)]),
        ({"type": "integer", "minimum": -(2**63), "maximum": 10**400}, ["-5", "7"], ["1.5"]),
        ({"type": "integer", "exclusiveMinimum": -(10**30)}, ["-5"], ['"a"']),
        ({"$defs": {"A/b": {"type": "null"}}, "$ref": "#/$defs/A~1b"}, ["null"], ["1"]),
        ({"$schema": "http://example.org/own", "type": "null"}, ["null"], ["1"]),
        ({"type": "object", "properties": {"format": {"type": "integer"}}, "required": ["format"]},
         ['{"format": 1}'], ['{"format": "a"}']),
        ({"$defs": {"T": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/T"},
          {"type": "null"}]}}, "required": ["next"], "additionalProperties": False}},
          "$ref": "#/$defs/T"}, ['{"next": {"next": null}}'], ["{}"]),
    ],
)  # fmt: skip
def test_a_schema_is_kept_as_it_is_meant(grammars, schema, fits, fails):
    form = asked(schema)
    for answer in fits:
        assert takes(grammars, form, answer), answer
    for answer in fails:
        assert not takes(grammars, form, answer), answer


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#"}, "nothing fits it"),
        ({"$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}},
          "required": ["a"]}}, "$ref": "#/$defs/A"}, "nothing fits it"),
        ({"type": "array", "minItems": 1, "items": {"$ref": "#"}}, "nothing fits it"),
        ({"allOf": [{"$ref": "#"}, {"type": "string"}]}, "nothing fits it"),
        ({"not": {}}, "nothing fits it"),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"$ref": "https://example.org/s"}, "leads out of the schema"),
        ({"properties": {"n": {"const": 2**53 + 1}}}, "'const' at #/properties/n"),
        ({"type": "integer", "minimum": 2**63}, "'minimum' at #"),
        ({"properties": {"n": {"enum": [{"a": -1e20}]}}}, "'enum' at #/properties/n"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_at_once_in_words(schema, words):
    with pytest.raises(ApiError) as caught:
        asked(schema)
    assert (caught.value.status, caught.value.param) == (400, "response_format")
    assert caught.value.code == "bad_schema"
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("schema", {"type": "string", "pattern": "(?=a)b"}, "look-ahead and look-behind"),
        ("schema", {"type": "integer", "minimum": 5, "maximum": 3}, "nothing fits it: minimum (5)"),
        ("schema", {"enum": []}, "nothing fits it"),
        ("schema", {"type": "strin"}, "Invalid type: strin"),
        ("schema", {"$dynamicRef": "#a"}, "these keywords can't be kept"),
        ("regex", "a(?=b)", "look-ahead and look-behind"),
        ("regex", "[^\\s\\S]", "nothing fits it"),
        ("regex", "(", "an expression can't be read"),
        ("grammar", "start: start", "nothing fits it"),
    ],
)
def test_the_engines_refusals_are_sentences(grammars, kind, text, words):
    with pytest.raises(BadSchema) as caught:
        grammars.start(kind, text if isinstance(text, str) else json.dumps(text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_strict_refuses_what_cannot_be_kept():
    for name, value in (("uniqueItems", True), ("propertyNames", {}), ("not", {"const": 1})):
        schema = {"type": "object", "properties": {"a": {name: value}}}
        with pytest.raises(ApiError, match=f"'{name}' at #/properties/a can't be kept"):
            asked(schema, strict=True)
    pet = {"discriminator": {"propertyName": "kind"}, "oneOf": [{"const": 1}, {"const": 2}]}
    assert "anyOf" in asked(pet, strict=True).constraint.text


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_object", "schema": {"const": 5}},
        {"type": "json_schema", "schema": {"const": 5}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": 5}}},
    ],
)
def test_every_spelling_of_a_schema_is_taken(form):
    found = form_of(ChatBody.model_validate({**CHAT, "response_format": form}))
    assert found is not None
    assert json.loads(found.constraint.text) == {"const": 5}
