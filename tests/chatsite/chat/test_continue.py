"""Going on with an answer: by what was stored when it was made, whatever the catalog says today."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.chat import actions
from chatsite.chat.models import Message
from chatsite.errors import ChatError
from chatsite.generation.models import Generation
from inference.contract import ErrorCode

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_redis")]


def cut_answer(alice: User, preset: SamplingPreset) -> Message:
    """An answer of Alice's that was cut after three tokens."""
    accepted = actions.send_message(
        alice,
        question_id=uuid.uuid4(),
        answer_id=uuid.uuid4(),
        request_id=uuid.uuid4(),
        text="What is a token?",
        preset_slug=preset.slug,
    )
    answer = accepted.messages[-1]
    answer.text, answer.state, answer.finish_reason = " a b c", Message.State.DONE, "length"
    answer.set_tokens([257, 288, 278])
    answer.save()
    return answer


@pytest.fixture
def preset(catalog: Any) -> SamplingPreset:
    return SamplingPreset.objects.create(
        slug="wild", name="Wild", temperature=1.5, top_k=7, max_tokens=20, stop=["END"]
    )


def continued(alice: User, answer: Message) -> Generation:
    request = uuid.uuid4()
    actions.continue_answer(alice, request_id=request, message_id=answer.pk)
    return Generation.objects.get(pk=request)


@pytest.mark.parametrize("change", ["changed", "disabled", "deleted"])
def test_continue_takes_the_parameters_that_the_answer_was_made_with(
    alice: User, preset: SamplingPreset, change: str
) -> None:
    answer = cut_answer(alice, preset)
    first = Generation.objects.get(pk=answer.request_id)
    if change == "deleted":
        preset.delete()
    else:
        preset.temperature, preset.max_tokens, preset.is_enabled = 0, 500, change != "disabled"
        preset.save()
    after = continued(alice, answer)
    expected = first.sampling | {"max_tokens": 20 + 3}  # as many again, behind the three
    assert after.sampling == expected
    assert (after.preset_slug, after.preset_version) == ("wild", first.preset_version)
    answer.refresh_from_db()
    assert answer.preset_slug == "wild"


def test_continue_twice_gives_as_many_tokens_each_time(alice: User, preset: SamplingPreset) -> None:
    answer = cut_answer(alice, preset)
    continued(alice, answer)
    answer.refresh_from_db()
    answer.state, answer.finish_reason = Message.State.DONE, "length"
    answer.set_tokens([257, 288, 278, 257, 288])
    answer.save()
    assert continued(alice, answer).sampling["max_tokens"] == 20 + 5


def test_continue_says_when_the_model_is_gone(alice: User, preset: SamplingPreset) -> None:
    answer = cut_answer(alice, preset)
    LanguageModel.objects.update(is_enabled=False)
    with pytest.raises(ChatError, match="not offered any more") as refused:
        continued(alice, answer)
    assert refused.value.code == ErrorCode.MODEL_UNKNOWN


def test_continued_by_two_pages_at_once_it_goes_on_for_the_first(
    alice: User, preset: SamplingPreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second page's frame comes while the first one's prompt is being made."""
    answer = cut_answer(alice, preset)
    first, second = uuid.uuid4(), uuid.uuid4()
    make = actions.request_for

    def make_late(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(actions, "request_for", make)
        actions.continue_answer(alice, request_id=first, message_id=answer.pk)
        return make(*args, **more)

    monkeypatch.setattr(actions, "request_for", make_late)
    accepted = actions.continue_answer(alice, request_id=second, message_id=answer.pk)
    assert accepted.messages[-1].request_id == first
    assert not Generation.objects.filter(pk=second).exists()
