"""What the chat's page needs to know from its first moment on, as JSON in the page.

Codes and limits are handed over as data, so that no script repeats them. Conversations and messages
come later, over HTTP and the socket.
"""

from __future__ import annotations

from typing import TypedDict
from uuid import UUID

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.catalog.seeded import shown
from chatsite.chat.frames import MAX_TEXT_CHARS, VERSION
from chatsite.chat.models import MAX_TITLE_CHARS, Conversation
from inference import client
from inference.contract import CloseCode, FinishReason


class Person(TypedDict):
    name: str
    is_staff: bool


class ModelChoice(TypedDict):
    """A model that can be chosen. `context_length` is None while its folder isn't there."""

    slug: str
    name: str
    description: str
    is_default: bool
    default_preset: str | None
    context_length: int | None


class PresetChoice(TypedDict):
    slug: str
    name: str
    description: str
    is_default: bool


class Limits(TypedDict):
    text_chars: int
    title_chars: int


class PageData(TypedDict):
    """The page's data; static/js/chat/types.js has the same fields."""

    version: int
    user: Person
    conversation: UUID | None
    title: str
    models: list[ModelChoice]
    presets: list[PresetChoice]
    limits: Limits
    close_codes: dict[str, int]
    continuable: list[str]


def page_data(user: User, conversation: Conversation | None) -> PageData:
    """The page of this person, which opens `conversation`. Two queries."""
    return {
        "version": VERSION,
        "user": {"name": user.get_username(), "is_staff": user.is_staff},
        "conversation": conversation.id if conversation else None,
        "title": conversation.title if conversation else "",
        "models": _models(),
        "presets": _presets(),
        "limits": {
            "text_chars": MAX_TEXT_CHARS,
            "title_chars": MAX_TITLE_CHARS,
        },
        "close_codes": {code.name.lower(): code.value for code in CloseCode},
        "continuable": [reason.value for reason in FinishReason if reason.is_continuable],
    }


def _models() -> list[ModelChoice]:
    rows = LanguageModel.objects.filter(is_enabled=True).select_related("default_preset")
    return [
        {
            "slug": model.slug,
            "name": shown(model.name),
            "description": shown(model.description),
            "is_default": model.is_default,
            "default_preset": model.default_preset.slug if model.default_preset else None,
            "context_length": client.context_length(model.slug),
        }
        for model in rows
    ]


def _presets() -> list[PresetChoice]:
    return [
        {
            "slug": preset.slug,
            "name": shown(preset.name),
            "description": shown(preset.description),
            "is_default": preset.is_default,
        }
        for preset in SamplingPreset.objects.filter(is_enabled=True)
    ]
