"""Constrained answers: whatever the model wants to say, its JSON is valid and keeps the schema."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from inference.contract import Constraint
from inference.engine.loader import ModelLoader, TextArtifacts, folder_loader

from .conftest import Bench, prompt_of, small_model

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("CHATSITE_MODELS", ROOT / "var/models")) / "smollm2-135m-instruct"
pytestmark = pytest.mark.skipif(
    not (FOLDER / "tokenizer.json").exists(),
    reason="the default model is not prepared: python -m inference.models.prepare",
)

PERSON = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "likes": {"type": "array", "items": {"enum": ["tea", "cake"]}, "maxItems": 3},
        },
        "required": ["name", "age", "likes"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def parrot() -> Any:
    """A random model with the default tokenizer: it has no idea of JSON."""
    return small_model(vocab_size=49152, num_hidden_layers=2)


@pytest.fixture
def writing(parrot, bench) -> Bench:
    side: TextArtifacts = folder_loader(FOLDER).load_text()
    return bench(parrot, loader=ModelLoader(lambda *_: parrot, lambda: side))


def test_random_weights_write_valid_json(writing):
    ids = [
        writing.ask(
            prompt_of(9, seed=n),
            constraint=Constraint("schema", PERSON),
            temperature=1.5,
            seed=n,
            max_tokens=200,
        )
        for n in range(6)
    ]
    free = writing.ask(prompt_of(9), temperature=1.0, max_tokens=30)
    for request_id in ids:
        result = writing.listener.result(request_id)
        assert result.finish_reason == "stop", result.error_text
        person = json.loads(writing.listener.text(request_id))
        assert [*person] == ["name", "age", "likes"]
        assert 0 <= person["age"] <= 150
        assert set(person["likes"]) <= {"tea", "cake"}
    assert writing.listener.result(free).completion_tokens == 30


def test_a_constrained_answer_goes_on_from_its_tokens(writing):
    options = {
        "constraint": Constraint("schema", PERSON),
        "temperature": 1.2,
        "seed": 4,
        "max_tokens": 200,
    }
    whole = writing.answer(prompt_of(9), **options)
    rest = writing.answer(prompt_of(9), **options, continue_from=tuple(whole[:7]))
    assert whole[:7] + rest == whole


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({"constraint": Constraint("regex", r"[0-9]{3}-[0-9]{4}")}, r"[0-9]{3}-[0-9]{4}"),
        ({"constraint": Constraint("grammar", 'start: ("ja" | "nein") "!"')}, "(ja|nein)!"),
        ({"constraint": Constraint("grammar", 'root ::= "a"+ ("b" | "c")')}, "a+(b|c)"),
    ],
    ids=["regex", "lark", "gbnf"],
)
def test_random_weights_keep_to_an_expression_or_a_grammar(writing, options, fits):
    ids = [
        writing.ask(prompt_of(9, seed=n), **options, temperature=1.5, seed=n, max_tokens=60)
        for n in range(4)
    ]
    for request_id in ids:
        result = writing.listener.result(request_id)
        if result.finish_reason == "stop":
            assert re.fullmatch(fits, writing.listener.text(request_id))
        else:
            assert result.finish_reason == "length", result.error_text
    whole = writing.listener.tokens(ids[0])
    again = {**options, "temperature": 1.5, "seed": 0, "max_tokens": 60}
    rest = writing.answer(prompt_of(9, seed=0), **again, continue_from=tuple(whole[:2]))
    assert whole[:2] + rest == whole


@pytest.mark.parametrize(
    "options",
    [
        {"constraint": Constraint("regex", "([")},
        {"constraint": Constraint("regex", "a(?=b)")},
        {"constraint": Constraint("grammar", "start: missing")},
        {"constraint": Constraint("grammar", "nonsense ::")},
        {"constraint": Constraint("grammar", "root ::= " + "(" * 5000)},
    ],
)
def test_what_is_no_expression_or_grammar_is_refused(writing, options):
    result = writing.listener.result(writing.ask(prompt_of(9), **options))
    assert (result.finish_reason, result.error_code) == ("failed", "bad_schema")
    assert result.error_text


@pytest.mark.parametrize(
    "schema", ['{"type": "banana"}', '{"type":', "[1]", '{"$ref": "#/nowhere"}']
)
def test_a_schema_that_can_not_be_followed_is_refused(writing, schema):
    result = writing.listener.result(
        writing.ask(prompt_of(9), constraint=Constraint("schema", schema))
    )
    assert (result.finish_reason, result.error_code) == ("failed", "bad_schema")
    assert result.error_text


def test_cancelling_while_the_schema_is_read_ends_the_request(writing):
    request_id = writing.ask(prompt_of(9), constraint=Constraint("schema", PERSON), max_tokens=500)
    writing.engine.cancel(request_id)
    assert writing.listener.result(request_id).finish_reason in ("cancelled", "stop")
