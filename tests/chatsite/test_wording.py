"""Whatever code the transformer side ends with has a sentence here, in the page's language."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from chatsite import wording
from chatsite.accounts.models import User
from chatsite.chat import queries
from chatsite.chat.models import Conversation, Message
from inference.client import ClientError
from inference.contract import InvalidField, SamplingParams

INFERENCE = Path(__file__).resolve().parents[2] / "inference"
SAID = (
    r'_(?:fail|refuse)\(\w+, "(\w+)"',
    r'\bcode = "(\w+)"(?: if .+? else "(\w+)")?',
    r'\bcode="(\w+)"',
    r'"(?:failed|interrupted)", "(?!interrupted)(\w+)"',
    r'give_up\("(\w+)"',
    r'^    [A-Z_]+: \("(\w+)"',
    r'return \(?\s*"(\w+)",\s*f?"The ',
    r'return \(?\s*"(bad_\w+)",',
)


def codes() -> set[str]:
    """Every error code that inference/ writes down."""
    found: set[str] = set()
    for path in INFERENCE.rglob("*.py"):
        for pattern in SAID:
            for match in re.findall(pattern, path.read_text(), re.MULTILINE):
                found |= {match} if isinstance(match, str) else set(filter(None, match))
    return found


def test_every_code_of_the_transformer_side_has_a_sentence() -> None:
    found = codes()
    known = {"worker_lost", "expired", "queue_full", "engine_error", "out_of_memory", "bad_logits",
             "engine_stopped", "model_failed", "prompt_too_long", "bad_token", "bad_schema"}  # fmt: skip
    assert found >= known, "the patterns no longer find them"
    assert found <= wording.error_sentences().keys()
    kinds = [ClientError, *ClientError.__subclasses__()]
    assert {kind.code for kind in kinds} <= wording.error_sentences().keys()


@pytest.mark.django_db
def test_a_stored_answer_speaks_its_readers_language(monkeypatch: Any) -> None:
    monkeypatch.setattr(wording, "_", lambda text: f"«{text}»")  # a translation
    alice = User.objects.create_user("alice")
    answer = Message.objects.create(
        conversation=Conversation.objects.create(owner=alice),
        role="assistant",
        author=alice,
        request_id=uuid.uuid4(),
        finish_reason="failed",
        error_code="out_of_memory",
        error_text="There was not enough memory.",
    )
    (view,) = queries.message_views([answer])
    assert view.error_text == "«There was not enough memory for this answer.»"
    assert wording.error_sentence("never_heard") == "«Something went wrong (never_heard).»"
    assert wording.error_sentence("") == ""


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
    assert wording.field_sentence(caught.value).startswith(sentence)
