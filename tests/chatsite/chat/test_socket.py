"""Who may open the chat's socket, what closes it, and frames that break its rules."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
from chatsite.generation.models import Generation
from inference.contract import CloseCode
from tests.support.frames import asking, new_ids
from tests.support.sockets import frame_of, join_group, open_socket, sent

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sockets"),
]


@pytest.mark.parametrize(
    "origin", [None, (b"origin", b"null"), (b"origin", b"https://evil.example")]
)
async def test_a_foreign_or_missing_origin_is_refused(alice: User, origin: Any) -> None:
    assert await open_socket(alice, origin=origin) is None


async def test_a_stranger_is_told_to_sign_in() -> None:
    socket = await open_socket(None)
    assert (await socket.receive_output())["code"] == CloseCode.SIGNED_OUT


BAD_FRAMES = [
    ("{", "bad_frame", ""),
    ("null", "bad_frame", ""),
    ("[]", "bad_frame", ""),
    ('{"type":"fly"}', "bad_frame", "type"),
    ('{"text":"no type"}', "bad_frame", ""),
    ('{"type":"send","text":"no id"}', "bad_frame", ""),
    (asking("send", text="x", request="7"), "bad_frame", "request"),
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


async def test_a_binary_frame_closes_the_socket_with_a_code(alice: User) -> None:
    socket = await open_socket(alice)
    await socket.send_to(bytes_data=b"\x00\x01")
    while (output := await socket.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    assert output["code"] == CloseCode.BINARY_FRAME


async def test_flooding_closes_the_socket(alice: User) -> None:
    socket = await open_socket(alice)
    for _ in range(200):
        await socket.send_to(text_data='{"type":"ping"}')
    while (output := await socket.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    assert output["code"] == CloseCode.TOO_MANY_FRAMES


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
        extra = {"text": "x"} if kind == "send" else {}
        theirs = await refusal(type=kind, **new_ids(kind), **extra, **{name: str(real)})
        nobodys = await refusal(type=kind, **new_ids(kind), **extra, **{name: str(uuid.uuid4())})
        assert theirs == nobodys

    # A parent of somebody else's, in a conversation of one's own.
    own = await Conversation.objects.acreate(owner=bob)
    foreign = {"text": "x", "conversation": str(own.id)}
    theirs = await refusal(type="send", **new_ids("send"), parent=str(answer.id), **foreign)
    nobodys = await refusal(type="send", **new_ids("send"), parent=str(uuid.uuid4()), **foreign)
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


async def test_trouble_beside_a_frame_closes_the_socket_with_a_code_and_no_more(
    alice: User, thread: Conversation, monkeypatch: Any
) -> None:
    """What the channel layer brings is read in the database, which may be away just then."""
    from channels.layers import get_channel_layer

    from chatsite.chat import queries
    from chatsite.notifier import group_of

    def away(*_: Any) -> None:
        raise OperationalError("the database is away")

    socket = await open_socket(alice)
    await frame_of(socket, "welcome")
    await join_group(alice)
    monkeypatch.setattr(queries, "one_conversation", away)
    message = {"type": "conversation.changed", "conversation": str(thread.id)}
    await get_channel_layer().group_send(group_of(alice.pk), message)
    while (output := await socket.receive_output(timeout=15))["type"] != "websocket.close":
        pass
    assert output["code"] == CloseCode.BROKEN


async def test_deactivation_closes_open_sockets(alice: User) -> None:
    socket = await open_socket(alice)
    await frame_of(socket, "welcome")
    alice.is_active = False
    await sync_to_async(alice.save)()
    while (output := await socket.receive_output(timeout=15))["type"] != "websocket.close":
        pass
    assert output["code"] == CloseCode.SIGNED_OUT


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
    assert output["code"] == CloseCode.SIGNED_OUT
