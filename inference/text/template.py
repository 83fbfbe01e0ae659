"""Renders a conversation with the model's own chat template, as transformers does.

Jinja in a sandbox, with the names that such templates expect. What people wrote is put in with its
control tokens masked, so that the template can't mistake them for its own; afterwards the
template's are spelled secretly (vocabulary.py) and the masks are lifted.
"""

from __future__ import annotations

import datetime
import functools
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
from inference.text.tool_history import PROBE, as_text, has_tools, shows_probe
from inference.text.vocabulary import Vocabulary, any_of

Message = Mapping[str, Any]
Variable = str | int | float | bool | None
_REFUSALS = (jinja2.TemplateError, TypeError, ValueError, KeyError)
_TOOL_FIELDS = {"assistant": ("tool_calls",), "tool": ("tool_call_id", "name")}
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
        template that knows no system role gets the system text in front of the first question; one
        that writes no tool calls (`tool_calls` of an assistant's message, role "tool") gets them as
        text. `continue_final_message` ends the prompt where the last message's content ends. Raises
        BadMessage and TemplateFailed.
        """
        given = {
            name: self._masked_text(value, self._any_mark) if isinstance(value, str) else value
            for name, value in (variables or {}).items()
        }
        for message in messages:
            _check(message)
        forms = [messages]
        if has_tools(messages):
            forms = [messages, as_text(messages)] if self._renders_tools else [as_text(messages)]
        text = self._first_rendered(
            forms, given, add_generation_prompt, is_open=continue_final_message
        )
        text = self._vocabulary.spell(text)
        return self._mask_pattern.sub(lambda match: self._unmask[match[0]], text)

    @functools.cached_property
    def _renders_tools(self) -> bool:
        """Whether the template writes tool calls and their answers."""
        try:
            return shows_probe(self._run(PROBE, True, {}))
        except _REFUSALS:
            return False

    def _first_rendered(
        self,
        forms: Sequence[Sequence[Message]],
        given: Mapping[str, Variable],
        add_generation_prompt: bool,
        *,
        is_open: bool,
    ) -> str:
        """The first of these forms of one conversation that the template takes."""
        error: Exception | None = None
        for form in forms:
            masked = [self._masked(message) for message in form]
            if is_open:
                masked[-1]["content"] += self._end_mark
            folded = _fold_system(masked)
            for tried in [masked] if folded is None else [masked, folded]:
                try:
                    text = self._run(tried, add_generation_prompt and not is_open, given)
                except _REFUSALS as refusal:
                    error = refusal
                    continue
                if not is_open:
                    return text
                text, found, _ = text.rpartition(self._end_mark)
                if found:
                    return text
                error = ValueError("it leaves the last message out")
                break
        raise TemplateFailed(f"The model's chat template refuses this: {error}") from error

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
        pattern = self._any_special if message["role"] == "assistant" else self._any_mark
        names = ("role", "content", *_TOOL_FIELDS.get(message["role"], ()))
        given = {name: message[name] for name in names if message.get(name) is not None}
        return {name: self._masked_value(value, pattern) for name, value in given.items()}

    def _masked_value(self, value: Any, pattern: re.Pattern[str] | None) -> Any:
        """The same with the control tokens masked in all its texts, keys included."""
        match value:
            case str():
                return self._masked_text(value, pattern)
            case list() | tuple():
                return [self._masked_value(one, pattern) for one in value]
            case Mapping():
                return {
                    self._masked_text(str(key), pattern): self._masked_value(one, pattern)
                    for key, one in value.items()
                }
            case _:
                return value

    def _masked_text(self, text: str, pattern: re.Pattern[str] | None) -> str:
        text = clean(text)
        if pattern is not None:
            text = pattern.sub(lambda match: self._masks[match[0]], text)
        return text


def _check(message: Message) -> None:
    """Raise BadMessage for what is no message."""
    if message.get("role") not in ROLES:
        raise BadMessage(f"A message's role must be one of {', '.join(ROLES)}.")
    if not isinstance(message.get("content"), str):
        raise BadMessage("A message's content must be text.")


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
