"""What the chat's page needs to know from its first moment on, as JSON in the page.

Codes and limits are handed over as data, so that no script repeats them. Conversations and messages
come later, over HTTP and the socket.
"""

from __future__ import annotations

from typing import Any

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.chat.frames import MAX_TEXT_CHARS, VERSION
from chatsite.chat.models import MAX_TITLE_CHARS, Conversation
from inference import client
from inference.contract import CloseCode, FinishReason


def page_data(user: User, conversation: Conversation | None) -> dict[str, Any]:
    """The page of this person, which opens `conversation`. Two queries."""
    return {
        "version": VERSION,
        "user": {"name": user.get_username(), "is_staff": user.is_staff},
        "conversation": conversation and conversation.id,
        "title": conversation.title if conversation else "",
        "models": _models(),
        "presets": list(
            SamplingPreset.objects.filter(is_enabled=True).values(
                "slug", "name", "description", "is_default"
            )
        ),
        "limits": {
            "text_chars": MAX_TEXT_CHARS,
            "title_chars": MAX_TITLE_CHARS,
        },
        "close_codes": {code.name.lower(): code.value for code in CloseCode},
        "continuable": [reason.value for reason in FinishReason if reason.is_continuable],
    }


def _models() -> list[dict[str, Any]]:
    rows = LanguageModel.objects.filter(is_enabled=True).select_related("default_preset")
    return [
        {
            "slug": model.slug,
            "name": model.name,
            "description": model.description,
            "is_default": model.is_default,
            "default_preset": model.default_preset.slug if model.default_preset else None,
            "context_length": client.context_length(model.slug),
        }
        for model in rows
    ]
