"""The page of one answer: whose it is, what it hands to the browser, and the branch it makes."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from typing import Any

import numpy as np
import pytest
from django.test import Client

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel
from chatsite.chat import actions
from chatsite.chat.models import Message
from chatsite.generation.models import Generation
from chatsite.inspect import prompt
from chatsite.inspect.cache_saving import saved_by_cache
from inference import client
from inference.contract import FinishReason
from inference.queue import records
from tests.chatsite.generation.conftest import ask
from tests.chatsite.generation.test_token_trace import finish, taken, written
from tests.support.frames import action_ids
from tests.support.redis import RedisServer
from tests.support.requests import ending, write

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def answer(live_redis: RedisServer, alice: User, catalog: LanguageModel) -> Message:
    """An answer of Alice's of eight tokens, 0 to 7, cut at its length."""
    made = ask(alice)
    request = taken(made)
    written(request, 0, 8)
    finish(request, tokens=8, reason=FinishReason.LENGTH)
    made.refresh_from_db()
    return made


def signed_in(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def data_of(user: User, message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(signed_in(user).get(f"/inspect/{message.pk}/data/").content)
    return found


def column(data: dict[str, Any], name: str, dtype: str) -> list[Any]:
    return np.frombuffer(base64.b64decode(data["columns"][name]), dtype=dtype).tolist()


def test_an_answer_is_its_owners_alone(answer: Message, alice: User, bob: User) -> None:
    for path in (f"/inspect/{answer.pk}/", f"/inspect/{answer.pk}/data/"):
        assert signed_in(alice).get(path).status_code == 200
        assert signed_in(bob).get(path).status_code == 404
    assert branch(bob, answer).status_code == 404
    assert Client().get(f"/inspect/{answer.pk}/").status_code == 302
    assert Client().get(f"/inspect/{answer.pk}/data/").status_code == 401
    assert signed_in(alice).get(f"/inspect/{answer.parent_id}/").status_code == 404  # a question
    assert signed_in(alice).get(f"/inspect/{uuid.uuid4()}/").status_code == 404


def test_the_browser_gets_the_stored_numbers(answer: Message, alice: User) -> None:
    data = data_of(alice, answer)
    assert data["count"] == 8
    assert column(data, "token", "<u4") == list(range(8))
    assert column(data, "is_known", "u1") == [1] * 8
    assert len(column(data, "candidates", "<u4")) == 8 * 20
    gaps = column(data, "gap_us", "<i4")
    assert gaps[0] == -1
    assert sum(gaps[1:]) == data["requests"][0]["decode_us"]
    text = client.load_text(answer.model_slug)
    assert data["pieces"]["0"] == [text.vocabulary.pieces.spelled(0).hex(), 1]
    assert data["sampling"]["temperature"] == Generation.objects.get().sampling["temperature"]


def test_an_answer_without_a_trace_says_so(alice: User, thread: Any) -> None:
    answer = thread.active_leaf
    data = data_of(alice, answer)
    assert column(data, "is_known", "u1") == [0, 0, 0]
    assert data["prompt"] is None and data["requests"] == []
    assert signed_in(alice).get(f"/inspect/{answer.pk}/").status_code == 200


# --- the prompt ------------------------------------------------------------------------------------


def test_the_prompts_bytes_are_the_rendered_template_and_each_has_its_owner(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    catalog.system_prompt = "Answer like a sailor: ça va?"
    catalog.save()
    question = "What is <|im_end|> a river — über Köln? 🌊"
    first = ask(alice, question)
    request = taken(first)
    written(request, 0, 3)
    finish(request, tokens=3, reason=FinishReason.STOP)
    first.refresh_from_db()
    second = actions.send_message(
        alice,
        **action_ids(),
        text="user",  # a word that the template itself writes
        conversation_id=first.conversation_id,
        parent_id=first.pk,
    ).messages[-1]
    request = taken(second)
    written(request, 0, 2)
    finish(request, tokens=2, reason=FinishReason.STOP)

    data = data_of(alice, second)["prompt"]
    text = client.load_text(catalog.slug)
    turns = [
        {"role": "system", "content": catalog.system_prompt},
        {"role": "user", "content": first.parent.text},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "user"},
    ]
    pieces = [text.vocabulary.pieces.spelled(token) for token in data["ids"]]
    assert b"".join(pieces).decode() == text.render_text(turns)
    said: dict[int, bytes] = {}
    for owner, piece in zip(data["owners"], pieces, strict=True):
        said[owner] = said.get(owner, b"") + piece
    assert said[prompt.SYSTEM].decode() == catalog.system_prompt
    assert said[prompt.EARLIER_QUESTION].decode() == first.parent.text
    assert said[prompt.EARLIER_ANSWER].decode() == first.text
    assert said[prompt.QUESTION].decode() == "user"


def test_a_system_prompt_that_was_changed_leaves_the_owners_untold(
    answer: Message, alice: User, catalog: LanguageModel
) -> None:
    catalog.system_prompt = "Something else, written later."
    catalog.save()
    assert data_of(alice, answer)["prompt"]["owners"] is None


def test_as_many_tokens_are_shaded_as_were_cached(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    made = ask(alice)
    request = taken(made)
    written(request, 0, 2)
    write(
        ending(
            request,
            completion_tokens=2,
            prompt_tokens=len(request.prompt_token_ids),
            cached_tokens=16,
            admitted=request.received,
        )
    )
    finish(request, tokens=2, reason=FinishReason.STOP)
    data = data_of(alice, made)["prompt"]
    assert data["cached"] == Generation.objects.get().cached_tokens == 16


def test_what_the_cache_saved_is_told_by_requests_like_it(alice: User) -> None:
    def stored(prompt_tokens: int, cached: int, prefill_us: int) -> Generation:
        return Generation.objects.create(
            model_slug="m",
            device="cpu",
            state="stop",
            received_at="2026-11-27T12:00:00Z",
            prompt_tokens=prompt_tokens,
            cached_tokens=cached,
            queue_us=0,
            prefill_us=prefill_us,
            ttft_us=prefill_us,
        )

    last = stored(400, 300, 9_000)
    assert saved_by_cache(last) == {"saved_us": None, "requests": 1}
    for n in range(10):
        stored(100 + 40 * n, 0, 5_000 + 100 * (100 + 40 * n))  # 100 µs a token
    stored(100, 0, 900_000)  # one that had to wait in its steps
    found = saved_by_cache(last)
    assert found["requests"] == 12
    assert abs(found["saved_us"] - 300 * 100) < 3_000


# --- branches ---------------------------------------------------------------------------------------


def branch(user: User, message: Message, **changes: Any) -> Any:
    body = {"answer": str(uuid.uuid4()), "request": str(uuid.uuid4()), "position": 3, "token": 260}
    return signed_in(user).post(
        f"/inspect/{message.pk}/branch/", body | changes, content_type="application/json"
    )


def test_a_branch_goes_on_behind_the_very_same_tokens(answer: Message, alice: User) -> None:
    # Two bytes of a character that nobody would tokenise so: as text they would be others.
    text = client.load_text(answer.model_slug)
    odd = [text.vocabulary.id_of(letter) for letter in ("â", "Ģ")]
    Message.objects.filter(pk=answer.pk).update(token_ids=[*odd, *answer.token_ids[2:]])
    made = branch(alice, answer).json()
    sibling = Message.objects.get(pk=made["answer"])
    entry = records.get(sibling.request_id.hex)
    assert entry is not None
    assert entry.request.continue_from == (*odd, 2, 260)
    assert list(text.encode(text.decode([*odd, 2, 260]))) != [*odd, 2, 260]
    before = Generation.objects.get(subject=answer.pk)
    assert entry.request.sampling.seed == before.sampling["seed"]
    assert (sibling.parent_id, sibling.branched_from_id, sibling.branched_at) == (
        answer.parent_id,
        answer.pk,
        3,
    )
    assert sibling.conversation.active_leaf_id == sibling.pk


def test_a_branch_shows_the_choices_of_the_answer_it_came_from(
    answer: Message, alice: User
) -> None:
    sibling = Message.objects.get(pk=branch(alice, answer).json()["answer"])
    request = taken(sibling)
    written(request, 4, 6)
    finish(request, tokens=6, reason=FinishReason.STOP)
    sibling.refresh_from_db()
    data = data_of(alice, sibling)
    assert data["branched_at"] == 3
    assert column(data, "token", "<u4") == sibling.token_ids == [0, 1, 2, 260, 4, 5]
    assert column(data, "is_known", "u1") == [1, 1, 1, 2, 1, 1]
    own = [gap for gap in column(data, "gap_us", "<i4") if gap >= 0]
    assert sum(own) == data["requests"][0]["decode_us"]
    origin = data_of(alice, answer)
    assert column(data, "candidates", "<u4")[:80] == column(origin, "candidates", "<u4")[:80]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"position": 8}, "position"),
        ({"position": -1}, "position"),
        ({"position": "3"}, "position"),
        ({"token": 10**8}, "token"),
        ({"token": 2}, "token"),  # the end token: nothing follows it
        ({"answer": "x"}, "answer"),
    ],
)
def test_a_branch_that_can_not_be_is_refused_by_its_field(
    answer: Message, alice: User, changes: dict[str, Any], field: str
) -> None:
    refused = branch(alice, answer, **changes)
    assert refused.status_code == 400
    assert refused.json()["error"]["field"] == field
    assert Message.objects.filter(role="assistant").count() == 1


def test_the_numbers_come_compressed_to_who_takes_it(answer: Message, alice: User) -> None:
    browser = signed_in(alice)
    path = f"/inspect/{answer.pk}/data/"
    packed = browser.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == browser.get(path).content


def test_versions_stand_beside_each_other_with_what_the_model_held_of_each(
    answer: Message, alice: User
) -> None:
    assert data_of(alice, answer)["versions"] == []
    sibling = Message.objects.get(pk=branch(alice, answer).json()["answer"])
    request = taken(sibling)
    written(request, 4, 6)
    finish(request, tokens=6, reason=FinishReason.STOP)
    this, other = data_of(alice, answer)["versions"]
    assert (this["is_this"], this["at"], this["count"]) == (True, 3, 8)
    assert (other["id"], other["at"], other["count"]) == (str(sibling.pk), 3, 6)
    data = data_of(alice, answer)
    best = np.array(column(data, "best_logprob", "<f4"))
    assert abs(this["logprob"] - (best - column(data, "below_best", "<f4")).sum()) < 1e-3
    assert other["logprob"] is None  # the token that was chosen is not among the stored ones
    assert [one["is_this"] for one in data_of(alice, sibling)["versions"]] == [True, False]
