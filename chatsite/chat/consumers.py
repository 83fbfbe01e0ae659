"""The chat's socket: frames in, frames out. One per browser tab, for all its conversations.

Parses and answers; what is written happens in actions.py, what is streamed comes from the hub of
this process (one Redis connection for all sockets). A frame that can't be done gets an error frame;
a client that doesn't keep to the rules gets a close code (frames.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils.translation import gettext as _

from chatsite.chat import actions, frames, queries
from chatsite.chat.access import own_answer_of
from chatsite.chat.models import Message
from chatsite.chat.notify import group_of
from chatsite.errors import ChatError
from chatsite.generation import request_life as requests
from chatsite.generation.rows import record_paint
from inference import client, contract
from inference.contract import CloseCode

logger = logging.getLogger(__name__)

FRAMES_PER_S = 20.0
FRAMES_BURST = 60.0
MAX_FOLLOWED = 32
CHECK_EVERY_S = 3.0
SESSION_EVERY_S = 10.0
BEHIND_S = 0.5


class ChatConsumer(AsyncWebsocketConsumer):
    """A person's open page. Speaks chatsite.chat.frames, version frames.VERSION."""

    # --- opening and closing -----------------------------------------------------------------

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self._followed: dict[UUID, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._budget, self._budget_at = FRAMES_BURST, time.monotonic()
        await self.accept()
        if not self.user.is_authenticated:
            await self.close(CloseCode.SIGNED_OUT)
            return
        await self._emit(frames.Welcome(frames.VERSION, self.user.get_username()))
        self._watch = asyncio.create_task(self._keep_watch())

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Whatever goes wrong beside a frame closes this socket; its page opens another one."""
        try:
            await super().dispatch(message)
        except StopConsumer:
            raise
        except Exception:
            logger.exception("%s failed", message["type"])
            with suppress(Exception):  # it may be closed already
                await self.close(CloseCode.BROKEN)

    async def disconnect(self, code: int) -> None:
        tasks = [*self._followed.values(), *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        self._followed.clear()
        with suppress(Exception):  # Redis may be away
            await self.channel_layer.group_discard(group_of(self.user.pk), self.channel_name)

    async def _keep_watch(self) -> None:
        """Join the person's group, again after Redis was away; notice what no message told."""
        joined, session_checked = False, time.monotonic()
        while True:
            try:
                if not joined:
                    await self.channel_layer.group_add(group_of(self.user.pk), self.channel_name)
                    joined = True
                if time.monotonic() - session_checked > SESSION_EVERY_S:
                    session_checked = time.monotonic()
                    user = await get_user(self.scope)
                    if not (user.is_authenticated and user.is_active and await self._has_session()):
                        await self.close(CloseCode.SIGNED_OUT)
                        return
                await self._end_stored()
            except Exception as error:  # database or Redis away: look again
                logger.warning("socket watch: %s", type(error).__name__)
            await asyncio.sleep(CHECK_EVERY_S)

    async def _has_session(self) -> bool:
        """Whether the session is still stored: the one in the scope was read when it connected."""
        session = self.scope.get("session")
        key = session.session_key if session is not None else None
        return key is None or await session.aexists(key)

    # --- frames in ---------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is None:
            await self.close(CloseCode.BINARY_FRAME)
        elif len(text_data) > frames.MAX_FRAME_BYTES:
            await self.close(CloseCode.FRAME_TOO_BIG)
        elif not self.user.is_authenticated:
            await self.close(CloseCode.SIGNED_OUT)
        elif not self._within_budget():
            await self.close(CloseCode.TOO_MANY_FRAMES)
        else:
            try:
                frame = frames.decoder.decode(text_data)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                await self._emit(_refusal_of(text_data, error))
                return
            await self._do(frame)

    def _within_budget(self) -> bool:
        now = time.monotonic()
        self._budget = min(FRAMES_BURST, self._budget + (now - self._budget_at) * FRAMES_PER_S)
        self._budget_at = now
        self._budget -= 1
        return self._budget >= 0

    async def _do(self, frame: frames.Incoming) -> None:
        client_id: UUID | None = getattr(frame, "client_id", None)
        request: UUID | None = getattr(frame, "request", None)
        try:
            await self._handle(frame)
        except ChatError as error:
            await self._emit(
                frames.Refused(error.code, error.text, error.field, client_id, request)
            )
        except Exception:
            logger.exception("frame %s failed", type(frame).__name__)
            text = _("That didn't work; nothing was lost. Try again.")
            await self._emit(frames.Refused("internal", text, "", client_id, request))

    async def _handle(self, frame: frames.Incoming) -> None:
        match frame:
            case frames.Send():
                await self._answer_to(
                    frame.client_id,
                    _in_thread(
                        actions.send_message,
                        self.user,
                        client_id=frame.client_id,
                        text=frame.text,
                        conversation_id=frame.conversation,
                        parent_id=frame.parent,
                        model_slug=frame.model,
                        preset_slug=frame.preset,
                    ),
                )
            case frames.Regenerate():
                await self._answer_to(
                    frame.client_id,
                    _in_thread(
                        actions.regenerate_answer,
                        self.user,
                        client_id=frame.client_id,
                        message_id=frame.message,
                        model_slug=frame.model,
                        preset_slug=frame.preset,
                    ),
                )
            case frames.Continue():
                await self._answer_to(
                    frame.client_id,
                    _in_thread(
                        actions.continue_answer,
                        self.user,
                        client_id=frame.client_id,
                        message_id=frame.message,
                    ),
                )
            case frames.Stop():
                await _in_thread(actions.stop_answer, self.user, message_id=frame.message)
                await self._end_stored()
            case frames.Watch():
                await self._start_watching(frame)
            case frames.Unwatch():
                if task := self._followed.pop(frame.request, None):
                    task.cancel()
            case frames.Painted():
                await _in_thread(
                    record_paint,
                    user_id=self.user.pk,
                    request_id=frame.request,
                    first_paint_us=frame.first_paint_us,
                    last_paint_us=frame.last_paint_us,
                )
            case frames.Ping():
                await self._emit(frames.Pong())

    async def _answer_to(self, client_id: UUID, work: Awaitable[actions.Accepted]) -> None:
        """Tell this tab what was stored, and stream the answer from its beginning."""
        accepted = await work
        await self._emit(await _in_thread(_accepted_frame, client_id, accepted))
        answer = accepted.messages[-1]
        if answer.state == Message.State.DONE:
            await self._emit_ended([answer.request_id] if answer.request_id else [])
        elif answer.request_id is not None:
            self._follow(answer.request_id, len(answer.token_ids))

    async def _start_watching(self, frame: frames.Watch) -> None:
        answer = await _in_thread(own_answer_of, self.user, frame.request)
        if answer.state == Message.State.DONE:
            await self._emit_ended([frame.request])
        else:
            self._follow(frame.request, frame.position)

    # --- streams out -------------------------------------------------------------------------

    def _follow(self, request: UUID, position: int) -> None:
        if old := self._followed.pop(request, None):
            old.cancel()
        elif len(self._followed) >= MAX_FOLLOWED:
            raise ChatError("too_many_streams", _("Too many answers are followed at once."))
        self._followed[request] = asyncio.create_task(self._stream(request, position))

    async def _stream(self, request: UUID, position: int) -> None:
        """Pass a request's events on until it has ended and is stored."""
        try:
            async for event in client.hub().follow(request.hex, position=position, joins=True):
                match event:
                    case contract.Delta():
                        await self._emit(
                            frames.Delta(
                                request,
                                event.position,
                                len(event.token_ids),
                                event.text,
                                event.text_offset,
                            )
                        )
                    case contract.Progress():
                        await self._emit(
                            frames.Phase(request, event.phase, done=event.done, total=event.total)
                        )
                    case client.Place():
                        loading = await _in_thread(_is_model_loading, request)
                        phase = "loading" if loading else "queued"
                        await self._emit(frames.Phase(request, phase, place=event.place))
                    case contract.Started() if event.attempt > 1:
                        await self._emit(frames.Phase(request, "recovering"))
                    case contract.Result():
                        await _in_thread(requests.store, request)
            await self._emit_ended([request])
        except client.SlowReader:
            await self.close(CloseCode.SLOW_READER)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("stream of %s broke", request.hex[:8])
            await self.close(CloseCode.BROKEN)  # the page goes on from where it was

    async def _end_stored(self) -> None:
        """Say `ended` for every followed request that the database knows as ended.

        A stream that is only a moment behind goes first, so that its last tokens come as tokens.
        Not to be called by a stream: it would wait for itself.
        """
        if not self._followed:
            return
        views = await _in_thread(_ended_views, self.user.pk, list(self._followed))
        behind = [self._followed[v.request] for v in views if v.request in self._followed]
        if behind:
            await asyncio.wait(behind, timeout=BEHIND_S)
            await self._emit_ended([v.request for v in views if v.request in self._followed])

    async def _emit_ended(self, ids: list[UUID]) -> None:
        for view in await _in_thread(_ended_views, self.user.pk, ids):
            task = self._followed.pop(view.request, None)
            await self._emit(frames.Ended(view.request, view))
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    async def _emit(self, frame: frames.Outgoing) -> None:
        await self.send(text_data=frames.encode(frame))

    # --- messages of the channel layer (announce.py) -------------------------------------------

    async def conversation_changed(self, message: dict[str, Any]) -> None:
        conversation = UUID(message["conversation"])
        view = None
        if not message.get("deleted"):
            view = await _in_thread(queries.one_conversation, conversation)
        await self._emit(frames.Changed(conversation, view is None, view))
        await self._end_stored()

    async def messages_accepted(self, message: dict[str, Any]) -> None:
        ids = [UUID(m) for m in message["messages"]]
        frame = await _in_thread(_accepted_elsewhere, UUID(message["conversation"]), ids)
        if frame is not None:
            await self._emit(frame)

    async def session_ended(self, message: dict[str, Any]) -> None:
        """Signed out or deactivated. With a session key only that session's sockets close."""
        session = self.scope.get("session")
        key = message.get("session")
        if key is None or (session is not None and session.session_key == key):
            await self.close(CloseCode.SIGNED_OUT)


def _in_thread(function: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
    # Not thread-sensitive: one slow call (counting a long prompt) must not hold up all sockets.
    return database_sync_to_async(function, thread_sensitive=False)(*args, **kwargs)


def _accepted_frame(client_id: UUID | None, accepted: actions.Accepted) -> frames.Accepted:
    view = queries.one_conversation(accepted.conversation.id)
    assert view is not None
    return frames.Accepted(client_id, view, queries.message_views(accepted.messages))


def _accepted_elsewhere(conversation: UUID, ids: list[UUID]) -> frames.Accepted | None:
    view = queries.one_conversation(conversation)
    if view is None:
        return None
    found = Message.objects.in_bulk(ids)
    messages = [found[i] for i in ids if i in found]
    client_id = next((m.client_id for m in messages if m.client_id), None)
    return frames.Accepted(client_id, view, queries.message_views(messages))


def _is_model_loading(request: UUID) -> bool:
    """Whether this answer waits for its model: workers have it, and none has it loaded yet."""
    message = Message.objects.filter(request_id=request).only("model_slug").first()
    if message is None:
        return False
    with suppress(client.RedisUnavailable):
        states = {w.engine.state for w in client.workers() if w.model == message.model_slug}
        return bool(states) and states <= {"loading", "warming"}
    return False


def _ended_views(user_id: int, ids: list[UUID]) -> list[frames.MessageView]:
    rows = Message.objects.filter(
        request_id__in=ids, conversation__owner_id=user_id, state=Message.State.DONE
    )
    return queries.message_views(rows)


def _refusal_of(text: str, error: Exception) -> frames.Refused:
    """Name the field at fault, and the pending message it belongs to when that can be read."""
    detail = str(error) if isinstance(error, msgspec.ValidationError) else _("not valid JSON")
    field = detail.rsplit("`$.", 1)[1].rstrip("`") if "`$." in detail else ""
    client_id: UUID | None = None
    with suppress(Exception):
        raw = msgspec.json.decode(text)
        client_id = UUID(raw["client_id"])
    return frames.Refused("bad_frame", _("This frame was refused: %s") % detail, field, client_id)
