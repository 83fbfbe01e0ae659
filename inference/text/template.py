"""Renders a conversation with the model's own chat template, as transformers does.

Jinja in a sandbox, with the names that such templates expect. What people wrote is put in with its
control tokens masked, so that the template can't mistake them for its own; afterwards the
template's are spelled secretly (vocabulary.py) and the masks are lifted.
"""

from __future__ import annotations

import datetime
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from jinja2.utils import Namespace

from inference.text.clean import clean
from inference.text.vocabulary import Vocabulary, any_of

Message = Mapping[str, Any]
Variable = str | int | float | bool | None
ROLES = ("system", "developer", "user", "assistant", "tool")


class TemplateFailed(ValueError):
    """The model's chat template refuses this conversation or is broken; the text says which."""


class BadMessage(ValueError):
    """A message isn't one: an unknown role, or a content that is no text."""


class ChatTemplate:
    """One model's template. `variables` are the names it may use: bos_token, eos_token."""

    def __init__(
        self, source: str, vocabulary: Vocabulary, *, variables: Mapping[str, str]
    ) -> None:
        self._vocabulary = vocabulary
        self._variables = dict(variables)
        self._secret = secrets.token_hex(16)
        marks = list(vocabulary.controls)
        self._masks = {mark: f"Mask{self._secret}n{place}End" for place, mark in enumerate(marks)}
        self._end_mark = f"Mask{self._secret}End"
        self._unmask = {mask: mark for mark, mask in self._masks.items()}
        self._mask_pattern = re.compile(f"Mask{self._secret}n[0-9]+End")
        self._any_mark = any_of(marks)
        # An assistant's own <think> is meant; its special tokens are not part of what it said.
        self._any_special = any_of(vocabulary.special)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateFailed(f"The model's chat template can't be read: {error}") from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        variables: Mapping[str, Variable] | None = None,
    ) -> str:
        """The prompt as text for `Vocabulary.encode_spelled`.

        `variables` are what the caller sets of the template's own (enable_thinking, for example). A
        template that knows no system role gets the system text in front of the first question.
        `continue_final_message` ends the prompt where the last message's content ends. Raises
        BadMessage and TemplateFailed.
        """
        masked = [self._masked(message) for message in messages]
        if continue_final_message:
            masked[-1]["content"] += self._end_mark
            add_generation_prompt = False
        given = {
            name: self._masked_text(value, self._any_mark) if isinstance(value, str) else value
            for name, value in (variables or {}).items()
        }
        try:
            text = self._run(masked, add_generation_prompt, given)
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            folded = _fold_system(masked)
            if folded is None:
                raise TemplateFailed(f"The model's chat template refuses this: {error}") from error
            try:
                text = self._run(folded, add_generation_prompt, given)
            except (jinja2.TemplateError, TypeError, ValueError, KeyError) as again:
                raise TemplateFailed(f"The model's chat template refuses this: {again}") from again
        if continue_final_message:
            text, found, _ = text.rpartition(self._end_mark)
            if not found:
                raise TemplateFailed("The model's chat template leaves the last message out.")
        text = self._vocabulary.spell(text)
        return self._mask_pattern.sub(lambda match: self._unmask[match[0]], text)

    def _run(
        self,
        messages: list[dict[str, Any]],
        add_generation_prompt: bool,
        given: Mapping[str, Variable],
    ) -> str:
        own = {
            "messages": messages,
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        return self._template.render(**{**given, **self._variables, **own})

    def _masked(self, message: Message) -> dict[str, Any]:
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise BadMessage(f"A message's role must be one of {', '.join(ROLES)}.")
        if not isinstance(content, str):
            raise BadMessage("A message's content must be text.")
        pattern = self._any_special if role == "assistant" else self._any_mark
        return {"role": role, "content": self._masked_text(content, pattern)}

    def _masked_text(self, text: str, pattern: re.Pattern[str] | None) -> str:
        text = clean(text)
        if pattern is not None:
            text = pattern.sub(lambda match: self._masks[match[0]], text)
        return text


def _fold_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The messages with a leading system text inside the first question; None without both."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return None
    content = messages[0]["content"] + "\n\n" + messages[1]["content"]
    return [{"role": "user", "content": content}, *messages[2:]]


class _Generation(jinja2.ext.Extension):
    """{% generation %} … {% endgeneration %} marks an answer for training; here it is its body."""

    tags: ClassVar[set[str]] = {"generation"}  # type: ignore[misc]

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _SafeNamespace(Namespace):
    """jinja's namespace() without names that begin with _: those lead out of a sandbox."""

    def __init__(*args: Any, **values: Any) -> None:
        self, *rest = args
        for name in dict(*rest, **values):
            _check_name(name)
        Namespace.__init__(self, *rest, **values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not set {name!r}")


def _environment() -> jinja2.Environment:
    """The environment that transformers gives templates: same switches, filters and functions."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    environment.globals["namespace"] = _SafeNamespace
    environment.globals["dict"] = lambda *args, **values: dict(*args, **values)
    return environment


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as text: jinja's own filter of this name would escape it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
