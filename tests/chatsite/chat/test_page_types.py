"""The page's types (static/js/chat/types.js) beside what the site sends and takes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from django.conf import settings

from chatsite.chat import frames
from chatsite.chat.models import Message
from chatsite.chat.page_data import page_data
from chatsite.generation.models import Generation
from chatsite.generation.shown_figures import figures_ms
from inference.contract import FinishReason, Phase

TYPES = Path(settings.BASE_DIR, "static/js/chat/types.js").read_text()

STRUCTS = [
    *get_args(frames.Incoming),
    *get_args(frames.Outgoing),
    frames.ConversationView,
    frames.MessageView,
]


NAMED = {str: "string", int: "number", bool: "boolean", UUID: "UUID", NoneType: "null"}
NARROWER = {
    ("MessageView", "role"): '"user" | "assistant"',
    ("MessageView", "state"): "MessageState",
    ("MessageView", "finish_reason"): "FinishReason",
    ("MessageView", "figures"): "Figures | null",
}
"""What the page knows more exactly than the frame's own type says."""


def written(kind: Any) -> str:
    """A Python type as the page's types write it."""
    if kind in NAMED:
        return NAMED[kind]
    if get_origin(kind) is Annotated:
        return written(get_args(kind)[0])
    if get_origin(kind) is list:
        return f"{written(get_args(kind)[0])}[]"
    if get_origin(kind) is UnionType:
        return " | ".join(written(one) for one in get_args(kind))
    return "PhaseName" if kind is Phase else str(kind.__name__)


def typedef(struct: Any) -> str:
    """The typedef of a frame or a view."""
    lines = [f"/**\n * @typedef {{object}} {struct.__name__}"]
    if tag := struct.__struct_config__.tag:
        lines.append(f' * @property {{"{tag}"}} type')
    for name, kind in get_type_hints(struct, include_extras=True).items():
        narrower = NARROWER.get((struct.__name__, name))
        lines.append(f" * @property {{{narrower or written(kind)}}} {name}")
    return "\n".join([*lines, " */"])


def union(name: str, values: list[str]) -> str:
    alternatives = " | ".join(f'"{value}"' for value in values)
    return f"/** @typedef {{{alternatives}}} {name} */"


def block_of(name: str) -> str:
    """The lines of a typedef that the page makes for itself."""
    return TYPES.partition(f"@typedef {{object}} {name}\n")[2].partition("*/")[0]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_a_frame_has_the_same_fields_and_types_on_both_sides(struct: Any) -> None:
    assert typedef(struct) in TYPES


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("MessageState", list(Message.State.values)),
        ("FinishReason", ["", *FinishReason]),
        ("PhaseName", list(Phase)),
    ],
)
def test_codes_and_states_are_the_sites(name: str, values: list[str | StrEnum]) -> None:
    assert union(name, [str(value) for value in values]) in TYPES


def test_the_page_asks_for_no_figure_that_the_site_does_not_send() -> None:
    sent = set(figures_ms(Generation()))
    asked = [line.rpartition(" ")[2] for line in block_of("Figures").splitlines() if "@" in line]
    assert asked
    assert set(asked) <= sent


@pytest.mark.django_db
def test_the_pages_data_has_the_same_fields_on_both_sides(alice: Any, catalog: Any) -> None:
    data = page_data(alice, None)
    for name, fields in (
        ("PageData", data),
        ("Model", data["models"][0]),
        ("Preset", data["presets"][0]),
    ):
        lines = [line for line in block_of(name).splitlines() if "@property" in line]
        assert sorted(line.rpartition(" ")[2] for line in lines) == sorted(fields)
