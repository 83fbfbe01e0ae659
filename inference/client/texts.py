"""Models by slug, seen from the web: their text side and their make-up. Loads no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.client.exceptions import ClientError, ModelUnknown
from inference.text import (
    BadMessage,
    Fitted,
    ModelFolderError,
    TemplateFailed,
    TextModel,
    model_folder,
)
from inference.text import load_text as load_folder


def load_text(model: str) -> TextModel:
    """Template and vocabulary of a model by slug. Raises ModelUnknown."""
    try:
        return load_folder(model_folder(model))
    except ModelFolderError as error:
        raise ModelUnknown(str(error)) from error


def context_length(model: str) -> int | None:
    """The model's context in tokens; None when its folder isn't there (yet)."""
    try:
        return load_text(model).context_length
    except ModelUnknown:
        return None


def count(model: str, content: str | Sequence[dict[str, str]]) -> int:
    """Tokens of a text, or of a conversation with its template. Raises ModelUnknown."""
    try:
        return load_text(model).count(content)
    except (BadMessage, TemplateFailed) as error:
        raise ClientError(str(error)) from error


def fit(
    model: str,
    messages: Sequence[dict[str, str]],
    *,
    max_tokens: int,
    continued_tokens: int = 0,
) -> Fitted:
    """The conversation as a prompt that fits. Raises PromptTooLong, ModelUnknown, ClientError."""
    try:
        return load_text(model).fit(
            messages, max_tokens=max_tokens, continued_tokens=continued_tokens
        )
    except (BadMessage, TemplateFailed) as error:
        raise ClientError(str(error)) from error


def describe(model: str) -> dict[str, Any]:
    """What a model is made of, from its configuration and headers. Raises ModelUnknown."""
    from inference.models.describe import describe as of_folder

    try:
        return of_folder(model_folder(model))
    except (ModelFolderError, ValueError, OSError) as error:
        raise ModelUnknown(str(error)) from error
