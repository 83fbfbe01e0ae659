"""Whatever code the transformer side ends with has a sentence here, in the page's language."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chatsite import error_messages as error_messages
from chatsite.accounts.models import User
from chatsite.chat import queries
from chatsite.chat.models import Conversation, Message
from inference.contract import ErrorCode, InvalidField, SamplingParams


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_sentence(code: ErrorCode) -> None:
    assert error_messages.error_sentence(code).endswith(".")


@pytest.mark.django_db
def test_a_stored_answer_speaks_its_readers_language(monkeypatch: Any) -> None:
    monkeypatch.setattr(error_messages, "_", lambda text: f"«{text}»")  # a translation
    alice = User.objects.create_user("alice")
    answer = Message.objects.create(
        conversation=Conversation.objects.create(owner=alice),
        role="assistant",
        author=alice,
        request_id=uuid.uuid4(),
        finish_reason="failed",
        error_code="out_of_memory",
    )
    (view,) = queries.message_views([answer])
    assert view.error_text == "«There was not enough memory for this answer.»"
    assert error_messages.error_sentence("never_heard") == "«Something went wrong (never_heard).»"
    assert error_messages.error_sentence("") == ""


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"temperature": 1e9}, "temperature must be a number from 0.0 to "),
        ({"top_p": 0.0}, "top_p must be greater than 0 and at most 1"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens must not exceed max_tokens."),
        ({"stop": ("",)}, "stop takes at most 16 strings of 1 to 256 characters."),
    ],
)
def test_a_setting_out_of_its_range_is_named_with_it(values: Any, sentence: str) -> None:
    with pytest.raises(InvalidField) as caught:
        SamplingParams(**values)
    assert error_messages.field_sentence(caught.value).startswith(sentence)
