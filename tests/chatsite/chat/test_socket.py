"""The chat's socket, as a browser and as somebody hostile speaks to it. Redis is real."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.asgi import application
from chatsite.chat import frames
from chatsite.chat.models import Conversation, Message
from chatsite.metrics.models import Generation

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]
ORIGIN = (b"origin", b"http://localhost")
HOST = (b"host", b"localhost")


opened: list[WebsocketCommunicator] = []


@pytest_asyncio.fixture(autouse=True)
async def _sockets(live_redis: object) -> AsyncIterator[None]:
    """Every test has an empty Redis, and no worker. Sockets it leaves open are ended."""
    yield
    while opened:
        socket = opened.pop()
        socket.future.cancel()
        await asyncio.gather(socket.future, return_exceptions=True)


async def open_socket(user: User | None, *, origin: tuple[bytes, bytes] | None = ORIGIN) -> Any:
    headers = [HOST] + ([origin] if origin else [])
    if user is not None:
        client = Client()
        await sync_to_async(client.force_login)(user)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
    socket = WebsocketCommunicator(application, "/ws/chat/", headers=headers)
    opened.append(socket)
    connected, _ = await socket.connect()
    return socket if connected else None


async def frame_of(socket: Any, kind: str) -> dict[str, Any]:
    for _ in range(20):
        frame = json.loads(await socket.receive_from(timeout=5))
        if frame["type"] == kind:
            return frame
    raise AssertionError(f"no {kind} frame came")


def sent(text: str, **fields: Any) -> str:
    return json.dumps({"type": "send", "client_id": str(uuid.uuid4()), "text": text, **fields})


@pytest.mark.parametrize(
    "origin", [None, (b"origin", b"null"), (b"origin", b"https://evil.example")]
)
async def test_a_foreign_or_missing_origin_is_refused(alice: User, origin: Any) -> None:
    assert await open_socket(alice, origin=origin) is None


async def test_a_stranger_is_told_to_sign_in() -> None:
    socket = await open_socket(None)
    assert (await socket.receive_output())["code"] == frames.CLOSE_SIGNED_OUT


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
    assert refused["client_id"] == json.loads(frame)["client_id"]
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
            await send(alice, client_id=uuid.uuid4(), text=f"Number {n}?")
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


async def test_stopping_a_waiting_answer_ends_it_as_cancelled(alice: User, catalog: Any) -> None:
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("Stop me"))
    answer = (await frame_of(socket, "accepted"))["messages"][1]
    await socket.send_to(text_data=json.dumps({"type": "stop", "message": answer["id"]}))
    ended = await frame_of(socket, "ended")
    assert ended["message"]["finish_reason"] == "cancelled"
    stored = await Message.objects.aget(id=answer["id"])
    assert stored.state == "done" and stored.finish_reason == "cancelled"
    await socket.disconnect()


BAD_FRAMES = [
    ("{", "bad_frame", ""),
    ("null", "bad_frame", ""),
    ("[]", "bad_frame", ""),
    ('{"type":"fly"}', "bad_frame", "type"),
    ('{"text":"no type"}', "bad_frame", ""),
    ('{"type":"send","text":"no id"}', "bad_frame", ""),
    ('{"type":"send","client_id":"7","text":"x"}', "bad_frame", "client_id"),
    ('{"type":"watch","request":"%s","position":-1}' % uuid.uuid4(), "bad_frame", "position"),
    ('{"type":"ping","extra":1}', "bad_frame", ""),
    ("[" * 10_000, "bad_frame", ""),
    (sent(""), "empty", "text"),
    (sent(" \n\t "), "empty", "text"),
    (sent("x" * 200_001), "bad_frame", "text"),
    (sent("x", model="no-such-model"), "model_unknown", "model"),
    (sent("x", preset="no-such-preset"), "preset_unknown", "preset"),
    (sent("x", conversation=str(uuid.uuid4())), "not_found", ""),
    (sent("x", parent=str(uuid.uuid4())), "no_such_parent", "parent"),
    ('{"type":"stop","message":"%s"}' % uuid.uuid4(), "not_found", ""),
    ('{"type":"watch","request":"%s"}' % uuid.uuid4(), "not_found", ""),
]


async def test_every_bad_frame_gets_an_error_that_names_what_is_wrong(
    alice: User, catalog: Any
) -> None:
    socket = await open_socket(alice)
    for text, code, field in BAD_FRAMES:
        await socket.send_to(text_data=text)
        refused = await frame_of(socket, "error")
        assert (refused["code"], refused["field"]) == (code, field), (text[:80], refused)
    await socket.send_to(text_data='{"type":"ping"}')
    assert await frame_of(socket, "pong")
    assert await Message.objects.acount() == 0
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


async def test_binary_and_oversized_frames_close_the_socket_with_a_code(alice: User) -> None:
    socket = await open_socket(alice)
    await socket.send_to(bytes_data=b"\x00\x01")
    while (output := await socket.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    assert output["code"] == frames.CLOSE_BINARY
    socket = await open_socket(alice)
    await socket.send_to(text_data="x" * (frames.MAX_FRAME_BYTES + 1))
    while (output := await socket.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    assert output["code"] == frames.CLOSE_TOO_BIG


async def test_flooding_closes_the_socket(alice: User) -> None:
    socket = await open_socket(alice)
    for _ in range(200):
        await socket.send_to(text_data='{"type":"ping"}')
    while (output := await socket.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    assert output["code"] == frames.CLOSE_FLOODING


async def test_bob_gets_the_same_answer_for_alices_ids_as_for_nobodys(
    alice: User, bob: User, thread: Conversation, catalog: Any
) -> None:
    answer = await Message.objects.aget(conversation=thread, role="assistant")
    socket = await open_socket(bob)

    async def refusal(**frame: Any) -> tuple[str, str]:
        await socket.send_to(text_data=json.dumps(frame))
        refused = await frame_of(socket, "error")
        return refused["code"], refused["text"]

    for kind, name, real in (
        ("stop", "message", answer.id),
        ("regenerate", "message", answer.id),
        ("continue", "message", answer.id),
        ("watch", "request", answer.request_id),
        ("send", "conversation", thread.id),
        ("send", "parent", answer.id),
    ):
        extra = (
            {"client_id": str(uuid.uuid4())} if kind in ("regenerate", "continue", "send") else {}
        )
        extra |= {"text": "x"} if kind == "send" else {}
        theirs = await refusal(type=kind, **{name: str(real)}, **extra)
        nobodys = await refusal(type=kind, **{name: str(uuid.uuid4())}, **extra)
        assert theirs == nobodys

    # A parent of somebody else's, in a conversation of one's own.
    own = await Conversation.objects.acreate(owner=bob)
    foreign = {"text": "x", "conversation": str(own.id)}
    theirs = await refusal(
        type="send", client_id=str(uuid.uuid4()), parent=str(answer.id), **foreign
    )
    nobodys = await refusal(
        type="send", client_id=str(uuid.uuid4()), parent=str(uuid.uuid4()), **foreign
    )
    assert theirs == nobodys
    assert theirs[0] == "no_such_parent"

    # These two say nothing in any case; and nothing of Alice's changes.
    generation = await Generation.objects.acreate(
        request_id=answer.request_id, user=alice, state="stop", received_at=timezone.now()
    )
    for request in (answer.request_id, uuid.uuid4()):
        painted = {"request": str(request), "first_paint_us": 1, "last_paint_us": 2}
        await socket.send_to(text_data=json.dumps({"type": "painted", **painted}))
        await socket.send_to(text_data=json.dumps({"type": "unwatch", "request": str(request)}))
        await socket.send_to(text_data='{"type":"ping"}')
        assert json.loads(await socket.receive_from(timeout=5)) == {"type": "pong"}
    await generation.arefresh_from_db()
    assert generation.user_ttft_us is None
    await socket.disconnect()


async def test_another_person_does_not_stop_who_watches(
    alice: User, bob: User, catalog: Any
) -> None:
    """`unwatch` names a request, and ends one's own following of it alone."""
    hers, his = await open_socket(alice), await open_socket(bob)
    await hers.send_to(text_data=sent("Stop me later"))
    answer = (await frame_of(hers, "accepted"))["messages"][1]
    await his.send_to(text_data=json.dumps({"type": "unwatch", "request": answer["request"]}))
    await his.send_to(text_data='{"type":"ping"}')
    await frame_of(his, "pong")
    await hers.send_to(text_data=json.dumps({"type": "stop", "message": answer["id"]}))
    assert (await frame_of(hers, "ended"))["request"] == answer["request"]
    await hers.disconnect()
    await his.disconnect()


async def test_trouble_beside_a_frame_closes_the_socket_with_a_code_and_no_more(
    alice: User, thread: Conversation, monkeypatch: Any
) -> None:
    """What the channel layer brings is read in the database, which may be away just then."""
    from channels.layers import get_channel_layer

    from chatsite.announcer import group_of
    from chatsite.chat import queries

    def away(*_: Any) -> None:
        raise OperationalError("the database is away")

    socket = await open_socket(alice)
    await frame_of(socket, "welcome")
    await asyncio.sleep(0.3)  # it joins the person's group
    monkeypatch.setattr(queries, "one_conversation", away)
    message = {"type": "conversation.changed", "conversation": str(thread.id)}
    await get_channel_layer().group_send(group_of(alice.pk), message)
    while (output := await socket.receive_output(timeout=15))["type"] != "websocket.close":
        pass
    assert output["code"] == frames.CLOSE_BROKEN


async def test_the_last_tokens_come_before_the_end_though_it_was_stored_first(
    alice: User, catalog: Any, monkeypatch: Any
) -> None:
    """The task that stores may be quicker than this socket's way: at 64 streams two answers were."""
    from channels.layers import get_channel_layer

    from chatsite.announcer import group_of
    from chatsite.chat import consumers
    from inference.contract import Delta, Result

    is_stored = asyncio.Event()

    class SlowHub:
        async def follow(self, request_id: str, *, position: int = 0) -> AsyncIterator[Any]:
            await is_stored.wait()
            for n, text in enumerate("abc"):
                await asyncio.sleep(0.05)
                yield Delta(request_id=request_id, attempt=1, position=n, token_ids=(n,),
                            text=text, text_offset=n, mono_ns=n)  # fmt: skip
            yield Result(request_id=request_id, attempt=1, finish_reason="stop")

    monkeypatch.setattr(consumers.client, "hub", SlowHub)
    monkeypatch.setattr(consumers.requests, "store", lambda request: True)
    socket = await open_socket(alice)
    await frame_of(socket, "welcome")
    await asyncio.sleep(0.3)  # it joins the person's group
    await socket.send_to(text_data=sent("Count."))
    accepted = await frame_of(socket, "accepted")
    rows = Message.objects.filter(id=accepted["messages"][1]["id"])
    await rows.aupdate(text="abc", token_ids=[0, 1, 2], state="done", finish_reason="stop")
    changed = {
        "type": "conversation.changed",
        "conversation": accepted["conversation"]["id"],
        "deleted": False,
    }
    is_stored.set()
    await get_channel_layer().group_send(group_of(alice.pk), changed)
    told: list[str] = []
    while "ended" not in told:
        frame = json.loads(await socket.receive_from(timeout=5))
        told.append(frame.get("text", "") if frame["type"] == "delta" else frame["type"])
    assert [t for t in told if t in "abc" or t == "ended"] == ["a", "b", "c", "ended"]
    await socket.disconnect()


async def test_a_checkpointed_answer_that_the_queue_lost_keeps_its_count_of_tokens(
    alice: User, catalog: Any
) -> None:
    from chatsite.chat import requests

    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("Count."))
    answer = (await frame_of(socket, "accepted"))["messages"][1]
    rows = Message.objects.filter(id=answer["id"])
    await rows.aupdate(text="one two three", token_ids=[1, 2, 3], state="running")
    end = sync_to_async(requests.end_without_worker)
    assert await end(uuid.UUID(answer["request"]), "interrupted", code="queue_lost")
    stored = await Generation.objects.aget(request_id=answer["request"])
    assert (stored.state, stored.completion_tokens) == ("interrupted", 3)
    assert (await rows.aget()).text == "one two three"
    again = {"type": "continue", "client_id": str(uuid.uuid4()), "message": answer["id"]}
    await socket.send_to(text_data=json.dumps(again))
    longer = answer["request"]
    while longer == answer["request"]:  # what tells other tabs of the first one comes, too
        longer = (await frame_of(socket, "accepted"))["messages"][-1]["request"]
    await rows.aupdate(text="one two three four", token_ids=[1, 2, 3, 4], state="running")
    assert await end(uuid.UUID(longer), "interrupted", code="queue_lost")
    stored = await Generation.objects.aget(request_id=longer)
    assert (stored.continued_tokens, stored.completion_tokens) == (3, 1)
    await socket.disconnect()


async def test_deactivation_closes_open_sockets(alice: User) -> None:
    socket = await open_socket(alice)
    await frame_of(socket, "welcome")
    alice.is_active = False
    await sync_to_async(alice.save)()
    while (output := await socket.receive_output(timeout=15))["type"] != "websocket.close":
        pass
    assert output["code"] == frames.CLOSE_SIGNED_OUT


async def test_deleting_a_conversation_in_mid_answer_leaves_nothing_dangling(
    alice: User, catalog: Any
) -> None:
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("Delete me"))
    accepted = await frame_of(socket, "accepted")
    client = Client()
    await sync_to_async(client.force_login)(alice)
    url = f"/conversations/{accepted['conversation']['id']}/delete/"
    await sync_to_async(client.post)(url, "{}", content_type="application/json")
    assert (await frame_of(socket, "changed"))["deleted"]
    from chatsite.chat.tasks import store_unheard

    await sync_to_async(store_unheard)()
    assert await Message.objects.acount() == 0
    assert [g.state async for g in Generation.objects.all()] == ["cancelled"]
    await socket.disconnect()


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
    client_id, conversation = uuid.uuid4(), uuid.UUID(accepted["conversation"]["id"])

    def send_twice() -> tuple[Any, Any]:
        again = {"client_id": client_id, "text": "Two?", "conversation_id": conversation}
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


async def test_a_title_given_meanwhile_is_kept(alice: User, catalog: Any, monkeypatch: Any) -> None:
    from chatsite.chat import actions

    fit = actions.client.fit

    def rename_meanwhile(*args: Any, **options: Any) -> Any:
        Conversation.objects.update(title="Mine", is_titled_by_owner=True)
        return fit(*args, **options)

    conversation = await Conversation.objects.acreate(owner=alice, title="Its own")
    monkeypatch.setattr(actions.client, "fit", rename_meanwhile)
    await sync_to_async(actions.send_message)(
        alice, client_id=uuid.uuid4(), text="Hi", conversation_id=conversation.id
    )
    await conversation.arefresh_from_db()
    assert (conversation.title, conversation.is_titled_by_owner) == ("Mine", True)
    assert conversation.active_leaf_id is not None


async def test_a_session_that_ended_unheard_closes_its_sockets(
    alice: User, monkeypatch: Any
) -> None:
    from django.contrib.sessions.models import Session

    from chatsite.chat import consumers

    monkeypatch.setattr(consumers, "SESSION_EVERY_S", 0.1)
    socket = await open_socket(alice)
    await frame_of(socket, "welcome")
    await Session.objects.all().adelete()  # as sign-out does; its message was lost with Redis
    while (output := await socket.receive_output(timeout=15))["type"] != "websocket.close":
        pass
    assert output["code"] == frames.CLOSE_SIGNED_OUT


async def test_who_waits_for_a_model_that_loads_is_told_so(alice: User, catalog: Any) -> None:
    from inference.contract import WorkerSnapshot
    from inference.streams import snapshots

    about = {"host": "h", "pid": 1, "started_us": 1, "seen_us": 1, "model": "smollm2-135m-instruct"}
    loads = WorkerSnapshot(worker="w", state="loading", **about)
    await sync_to_async(snapshots.tell)(loads)
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("Is it there?"))
    assert (await frame_of(socket, "phase"))["phase"] == "loading"
    await socket.disconnect()
