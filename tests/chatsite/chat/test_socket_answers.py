"""Answers over the chat's socket: followed, stopped, ended, lost. No worker makes them here."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from chatsite.accounts.models import User
from chatsite.chat import consumers
from chatsite.chat.models import Message
from chatsite.generation.models import Generation
from tests.support.frames import asking
from tests.support.sockets import frame_of, join_group, open_socket, sent

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sockets"),
]


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


async def test_the_last_tokens_come_before_the_end_though_it_was_stored_first(
    alice: User, catalog: Any, monkeypatch: Any
) -> None:
    """The task that stores may be quicker than this socket's way: at 64 streams two answers were."""
    from channels.layers import get_channel_layer

    from chatsite.chat import streaming
    from chatsite.notifier import group_of
    from inference.contract import Delta, FinishReason, Result

    is_stored = asyncio.Event()

    async def follow_slowly(request_id: str, **_: Any) -> AsyncIterator[Any]:
        await is_stored.wait()
        for n, text in enumerate("abc"):
            await asyncio.sleep(0.05)
            yield Delta(request_id=request_id, attempt=1, position=n, token_ids=(n,),
                        text=text, text_offset=n, mono_ns=n)  # fmt: skip
        yield Result(request_id=request_id, attempt=1, finish_reason=FinishReason.STOP)

    monkeypatch.setattr(streaming, "follow", follow_slowly)
    monkeypatch.setattr(streaming, "store", lambda request: True)
    socket = await open_socket(alice)
    await frame_of(socket, "welcome")
    await join_group(alice)
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
    from chatsite.generation.store import end_without_worker
    from inference.contract import ErrorCode, FinishReason

    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("Count."))
    answer = (await frame_of(socket, "accepted"))["messages"][1]
    rows = Message.objects.filter(id=answer["id"])
    await rows.aupdate(text="one two three", token_ids=[1, 2, 3], num_tokens=3, state="running")
    end = sync_to_async(end_without_worker)
    assert await end(
        uuid.UUID(answer["request"]), FinishReason.INTERRUPTED, code=ErrorCode.QUEUE_LOST
    )
    stored = await Generation.objects.aget(request_id=answer["request"])
    assert (stored.state, stored.completion_tokens) == ("interrupted", 3)
    assert (await rows.aget()).text == "one two three"
    await socket.send_to(text_data=asking("continue", message=answer["id"]))
    longer = (await frame_of(socket, "accepted"))["messages"][-1]["request"]
    await rows.aupdate(
        text="one two three four", token_ids=[1, 2, 3, 4], num_tokens=4, state="running"
    )
    assert await end(uuid.UUID(longer), FinishReason.INTERRUPTED, code=ErrorCode.QUEUE_LOST)
    stored = await Generation.objects.aget(request_id=longer)
    assert (stored.continued_tokens, stored.completion_tokens) == (3, 1)
    await socket.disconnect()


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
    from chatsite.generation.tasks import store_finished

    await sync_to_async(store_finished)()
    assert await Message.objects.filter(conversation__deleted_at=None).acount() == 0
    assert [g.state async for g in Generation.objects.all()] == ["cancelled"]
    await socket.disconnect()


async def test_who_waits_for_a_model_that_loads_is_told_so(alice: User, catalog: Any) -> None:
    from inference.contract import EngineStats, WorkerSnapshot, WorkerState
    from inference.queue import worker_snapshots as snapshots

    about = {"host": "h", "pid": 1, "started_us": 1, "seen_us": 1, "model": "smollm2-135m-instruct"}
    loads = WorkerSnapshot(worker="w", engine=EngineStats(state=WorkerState.LOADING), **about)
    await sync_to_async(snapshots.publish)(loads)
    socket = await open_socket(alice)
    await socket.send_to(text_data=sent("Is it there?"))
    assert (await frame_of(socket, "phase"))["phase"] == "loading"
    await socket.disconnect()


async def test_the_page_is_told_which_models_a_worker_serves_and_when_that_changes(
    alice: User, catalog: Any
) -> None:
    from inference.contract import EngineStats, WorkerSnapshot, WorkerState
    from inference.queue import worker_snapshots as snapshots

    socket = await open_socket(alice)
    assert (await frame_of(socket, "welcome"))["served"] == []
    about = {"host": "h", "pid": 1, "started_us": 1, "seen_us": 1, "model": "smollm2-135m-instruct"}
    ready = WorkerSnapshot(worker="w", engine=EngineStats(state=WorkerState.READY), **about)
    await sync_to_async(snapshots.publish)(ready)
    assert (await frame_of(socket, "serving"))["served"] == ["smollm2-135m-instruct"]
    await socket.disconnect()


async def test_the_page_is_told_when_the_disk_is_low_and_when_there_is_space_again(
    alice: User, catalog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "CHECK_EVERY_S", 0.05)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000))
    socket = await open_socket(alice)
    assert (await frame_of(socket, "welcome"))["is_disk_low"] is True
    await socket.send_to(text_data=sent("Is there space?"))
    assert (await frame_of(socket, "error"))["code"] == "disk_full"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5_000_000_000))
    assert (await frame_of(socket, "serving"))["is_disk_low"] is False
    await socket.disconnect()
