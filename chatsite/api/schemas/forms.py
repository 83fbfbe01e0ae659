"""Structured output: OpenAI's response_format and vLLM's structured_outputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from chatsite.api.schemas.body import Body, missing, together

MAX_GRAMMAR_CHARS = 64_000
Grammar = Annotated[str, StringConstraints(min_length=1, max_length=MAX_GRAMMAR_CHARS)]
MAX_OFFERED = 1024
Offered = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]],
    Field(min_length=1, max_length=MAX_OFFERED, fail_fast=True),
]


class JsonSchema(Body):
    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")
    description: str | None = Field(default=None, max_length=4096)
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseText(Body):
    type: Literal["text"]


class ResponseJsonObject(Body):
    """Any JSON object, or with `schema`, as llama.cpp has it, one that follows the schema."""

    type: Literal["json_object"]
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseJsonSchema(Body):
    """A schema with its name, as OpenAI has it, or alone, as llama.cpp has it."""

    type: Literal["json_schema"]
    json_schema: JsonSchema | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.json_schema is None and self.schema_ is None:
            raise missing("json_schema")
        return self


ResponseFormat = Annotated[
    ResponseText | ResponseJsonObject | ResponseJsonSchema, Field(discriminator="type")
]


class StructuredOutputs(Body):
    """vLLM's kinds of structured output. Exactly one of the first five fields is set."""

    json_: dict[str, Any] | str | None = Field(
        default=None, alias="json", description="A JSON schema."
    )
    json_object: Literal[True] | None = Field(default=None, description="Any JSON object.")
    regex: Grammar | None = Field(default=None, description="The whole answer matches it.")
    choice: Offered | None = Field(default=None, description="The answer is one of these.")
    grammar: Grammar | None = Field(default=None, description="In Lark's notation or in GBNF.")
    structural_tag: None = None
    whitespace_pattern: None = None
    disable_additional_properties: Literal[False] | None = None
    disable_fallback: bool | None = Field(default=None, description="Taken and ignored.")
    disable_any_whitespace: bool | None = Field(
        default=None, description="Taken and ignored: JSON is always spaced in one way."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        forms = (self.json_, self.json_object, self.regex, self.choice, self.grammar)
        if sum(form is not None for form in forms) != 1:
            raise together(
                "structured_outputs",
                "Invalid 'structured_outputs': give exactly one of 'json', 'json_object', 'regex', "
                "'choice' and 'grammar'.",
            )
        return self


FORMS = (
    "response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
    "guided_grammar",
)  # fmt: skip
"""The fields that ask for structured output; a request may set one of them."""
