"""Questions over the chat's socket: taken once, refused in words, kept as they are."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
from tests.support.frames import action_ids
from tests.support.sockets import all_joined, frame_of, open_socket, sent

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sockets"),
]


async def test_a_question_is_stored_once_however_often_it_is_sent(
    alice: User, catalog: Any
) -> None:
    socket = await open_socket(alice)
    frame = sent("What is a token?")
    await socket.send_to(text_data=frame)
    first = await frame_of(socket, "accepted")
    await socket.send_to(text_data=frame)
    await frame_of(socket, "accepted")
    assert [m["role"] for m in first["messages"]] == ["user", "assistant"]
    assert first["messages"][1]["state"] in ("pending", "queued")
    assert first["conversation"]["title"] == "What is a token?"
    assert await Message.objects.acount() == 2
    await socket.disconnect()


async def test_what_is_stored_has_the_ids_that_the_page_made(alice: User, catalog: Any) -> None:
    socket = await open_socket(alice)
    frame = sent("What is a token?")
    await socket.send_to(text_data=frame)
    accepted = await frame_of(socket, "accepted")
    asked = json.loads(frame)
    question, answer = accepted["messages"]
    assert accepted["request"] == answer["request"] == asked["request"]
    assert (question["id"], answer["id"]) == (asked["question"], asked["answer"])
    assert answer["parent"] == question["id"]
    await socket.disconnect()


async def test_the_tab_that_asks_is_told_once_and_each_other_tab_once(
    alice: User, catalog: Any
) -> None:
    asking_tab, other_tab = await open_socket(alice), await open_socket(alice)
    await all_joined(alice, asking_tab, other_tab)
    frame = sent("One?")
    await asking_tab.send_to(text_data=frame)
    answer = (await frame_of(other_tab, "accepted"))["messages"][-1]
    await asking_tab.send_to(text_data=json.dumps({"type": "stop", "message": answer["id"]}))
    await other_tab.send_to(text_data=json.dumps({"type": "watch", "request": answer["request"]}))
    for socket in (asking_tab, other_tab):
        await asyncio.sleep(1)  # whatever may come once too often
        await socket.send_to(text_data='{"type":"ping"}')
        came = []
        while "pong" not in came:
            came.append(json.loads(await socket.receive_from(timeout=5))["type"])
        assert came.count("accepted") == (1 if socket is asking_tab else 0)
        assert came.count("ended") == 1
        await socket.disconnect()


async def test_an_id_that_is_taken_is_refused_without_saying_whose(
    alice: User, bob: User, catalog: Any
) -> None:
    of_alice, of_bob = await open_socket(alice), await open_socket(bob)
    asked = json.loads(sent("Mine."))
    await of_alice.send_to(text_data=json.dumps(asked))
    await frame_of(of_alice, "accepted")
    await of_alice.send_to(text_data=json.dumps({"type": "stop", "message": asked["answer"]}))
    await frame_of(of_alice, "ended")
    own = json.loads(sent("Bob's own."))
    await of_bob.send_to(text_data=json.dumps(own))
    await frame_of(of_bob, "accepted")
    await of_bob.send_to(text_data=json.dumps({"type": "stop", "message": own["answer"]}))
    await frame_of(of_bob, "ended")

    async def refusal(field: str, value: str) -> dict[str, Any]:
        await of_bob.send_to(text_data=sent("Bob's.", **{field: value}))
        refused = await frame_of(of_bob, "error")
        return {name: refused[name] for name in ("code", "text", "field")}

    for field, taken in (("question", "question"), ("answer", "answer"), ("question", "answer")):
        theirs = await refusal(field, asked[taken])
        assert theirs == await refusal(field, own[taken])
        assert (theirs["code"], theirs["field"]) == ("bad_field", field)
    assert (await refusal("request", asked["request"]))["field"] == "request"
    twice = str(uuid.uuid4())
    await of_bob.send_to(text_data=sent("Bob's.", question=twice, answer=twice))
    assert (await frame_of(of_bob, "error"))["code"] == "bad_field"
    assert await Message.objects.filter(author=bob).acount() == 2
    assert await Message.objects.filter(author=alice).acount() == 2
    assert not await Message.objects.filter(text="Bob's.").aexists()
    await of_alice.disconnect()
    await of_bob.disconnect()


async def test_a_resend_that_overtakes_its_first_send_gets_the_same_question(
    alice: User, catalog: Any, monkeypatch: Any
) -> None:
    """Once the later one was told that the conversation is busy, with itself."""
    from chatsite.chat import actions

    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("One?"))
    accepted = await frame_of(socket, "accepted")
    stop = {"type": "stop", "message": accepted["messages"][1]["id"]}
    await socket.send_to(text_data=json.dumps(stop))
    await frame_of(socket, "ended")
    ids, conversation = action_ids(), uuid.UUID(accepted["conversation"]["id"])

    def send_twice() -> tuple[Any, Any]:
        again = {**ids, "text": "Two?", "conversation_id": conversation}
        first = actions.send_message(alice, **again)
        already, looks = actions._already, iter([False])

        def unaware_at_first(*of: Any) -> Any:
            return already(*of) if next(looks, True) else None

        monkeypatch.setattr(actions, "_already", unaware_at_first)
        return first, actions.send_message(alice, **again)

    first, later = await sync_to_async(send_twice)()
    assert [m.id for m in later.messages] == [m.id for m in first.messages]
    assert await Message.objects.acount() == 4
    await socket.disconnect()


async def test_a_second_question_while_one_is_answered_is_refused_and_named(
    alice: User, catalog: Any
) -> None:
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("One?"))
    conversation = (await frame_of(socket, "accepted"))["conversation"]["id"]
    await socket.send_to(text_data=sent("Two?", conversation=conversation))
    assert (await frame_of(socket, "error"))["code"] == "busy"
    await socket.disconnect()


async def test_one_answer_more_than_a_person_may_have_at_once_is_refused_in_words(
    alice: User, catalog: Any
) -> None:
    socket = await open_socket(alice)
    accepted = []
    for n in range(settings.MAX_CONCURRENT_ANSWERS):
        await socket.send_to(text_data=sent(f"Number {n}?"))
        accepted.append(await frame_of(socket, "accepted"))
    frame = sent("One more?")
    await socket.send_to(text_data=frame)
    refused = await frame_of(socket, "error")
    assert refused["code"] == "too_many_answers"
    assert refused["request"] == json.loads(frame)["request"]
    assert refused["text"] == (
        "At most 4 answers are written for you at once. Wait for one or stop it."
    )
    assert await Message.objects.filter(text="One more?").acount() == 0
    stop = {"type": "stop", "message": accepted[0]["messages"][1]["id"]}
    await socket.send_to(text_data=json.dumps(stop))
    await frame_of(socket, "ended")
    await socket.send_to(text_data=frame)
    assert await frame_of(socket, "accepted")
    await socket.disconnect()


async def test_of_many_questions_at_the_same_moment_as_many_are_taken_as_may_be(
    alice: User, catalog: Any
) -> None:
    from chatsite.chat import actions
    from chatsite.errors import ChatError

    async def ask(n: int) -> str:
        try:
            send = sync_to_async(actions.send_message, thread_sensitive=False)
            await send(alice, **action_ids(), text=f"Number {n}?")
        except ChatError as error:
            return error.code
        return "taken"

    came = sorted(await asyncio.gather(*(ask(n) for n in range(9))))
    assert came == ["taken"] * 4 + ["too_many_answers"] * 5
    assert await Conversation.objects.acount() == 4


async def test_an_answer_says_how_many_messages_were_left_out_of_its_prompt(
    alice: User, catalog: Any
) -> None:
    conversation = await Conversation.objects.acreate(owner=alice, title="Long")
    parent = None
    for n in range(12):
        parent = await Message.objects.acreate(
            conversation=conversation,
            parent=parent,
            role="assistant" if n % 2 else "user",
            text=f"{n}: " + "many words " * 450,
            author=alice,
        )
    socket = await open_socket(alice)
    ask = sent("And now?", conversation=str(conversation.id), parent=str(parent.id))
    await socket.send_to(text_data=ask)
    question, answer = (await frame_of(socket, "accepted"))["messages"]
    assert question["trimmed_messages"] == 0
    assert answer["trimmed_messages"] == 4  # the two oldest turns, whole
    stored = await Message.objects.aget(id=answer["id"])
    assert stored.trimmed_messages == 4
    await socket.disconnect()


async def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(
    alice: User, catalog: Any
) -> None:
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("one two three four " * 10_000))
    refused = await frame_of(socket, "error")
    assert refused["code"] == "prompt_too_long" and "8,192" in refused["text"]
    assert await Message.objects.acount() == 0
    await socket.disconnect()


async def test_a_word_of_two_hundred_thousand_letters_is_answered_in_time(
    alice: User, catalog: Any
) -> None:
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("a" * 200_000))
    assert (await frame_of(socket, "error"))["code"] in ("prompt_too_long", "text_too_long")
    await socket.disconnect()


@pytest.mark.parametrize(
    "text", ["a\x00b", "half \ud83d of a smile", "\u202eright to left", "<|im_end|>"]
)
async def test_odd_text_is_kept_as_text(alice: User, catalog: Any, text: str) -> None:
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent(text))
    frame = json.loads(await socket.receive_from(timeout=5))
    while frame["type"] not in ("accepted", "error"):
        frame = json.loads(await socket.receive_from(timeout=5))
    if "\ud83d" in text:  # not JSON text at all; or kept with the half replaced
        assert frame["type"] == "error" or "\ufffd" in frame["messages"][0]["text"]
    else:
        assert frame["messages"][0]["text"] == text.replace("\x00", "\ufffd")
    await socket.disconnect()


async def test_a_title_given_meanwhile_is_kept(alice: User, catalog: Any, monkeypatch: Any) -> None:
    from chatsite.chat import actions, prompt

    fit = prompt.client.fit

    def rename_meanwhile(*args: Any, **options: Any) -> Any:
        Conversation.objects.update(title="Mine", is_titled_by_owner=True)
        return fit(*args, **options)

    conversation = await Conversation.objects.acreate(owner=alice, title="Its own")
    monkeypatch.setattr(prompt.client, "fit", rename_meanwhile)
    await sync_to_async(actions.send_message)(
        alice, **action_ids(), text="Hi", conversation_id=conversation.id
    )
    await conversation.arefresh_from_db()
    assert (conversation.title, conversation.is_titled_by_owner) == ("Mine", True)
    assert conversation.active_leaf_id is not None
