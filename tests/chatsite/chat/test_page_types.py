"""The page's types (static/js/chat/types.js) beside what the site sends and takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from django.conf import settings

from chatsite.chat import frames
from chatsite.chat.models import Message
from chatsite.chat.page_data import page_data
from chatsite.generation.models import Generation
from chatsite.generation.rows import figures_ms
from inference.contract import FinishReason, Phase

TYPES = Path(settings.BASE_DIR, "static/js/chat/types.js").read_text()

STRUCTS = [
    *get_args(frames.Incoming),
    *get_args(frames.Outgoing),
    frames.ConversationView,
    frames.MessageView,
]


def fields_of(name: str) -> list[str]:
    """The properties of a typedef, in order."""
    (block,) = re.findall(
        rf"/\*\*((?:(?!\*/).)*?@typedef {{object}} {name}\b.*?)\*/", TYPES, re.DOTALL
    )
    return re.findall(r"@property {.*} (\w+)", block)


def union_of(name: str) -> set[str]:
    """The strings that a type allows."""
    (alternatives,) = re.findall(rf"@typedef {{(.*)}} {name} ", TYPES)
    return set(re.findall(r'"(\w*)"', alternatives))


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_a_frame_has_the_same_fields_on_both_sides(struct: Any) -> None:
    tag = struct.__struct_config__.tag
    names = [*(["type"] if tag else []), *struct.__struct_fields__]
    assert fields_of(struct.__name__) == names
    if tag:
        assert f'@property {{"{tag}"}} type' in TYPES


def test_codes_and_states_are_the_sites() -> None:
    assert union_of("MessageState") == set(Message.State)
    assert union_of("FinishReason") == {"", *FinishReason}
    assert union_of("PhaseName") == set(Phase)


def test_the_page_asks_for_no_figure_that_the_site_does_not_send() -> None:
    assert set(fields_of("Figures")) <= set(figures_ms(Generation()))


@pytest.mark.django_db
def test_the_pages_data_has_the_same_fields_on_both_sides(alice: Any, catalog: Any) -> None:
    data = page_data(alice, None)
    assert sorted(fields_of("PageData")) == sorted(data)
    assert fields_of("Model") == list(data["models"][0])
    assert fields_of("Preset") == list(data["presets"][0])
