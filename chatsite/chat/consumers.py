"""The chat's socket: frames in, frames out. One per browser tab, for all its conversations.

Parses and answers; what is written happens in actions.py, what is streamed in streaming.py. A frame
that can't be done gets an error frame; a client that breaks the rules is closed with a CloseCode.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from channels.auth import get_user
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils.translation import gettext as _

from chatsite import disk_space
from chatsite.chat import actions, frames, queries
from chatsite.chat.access import own_answer_of
from chatsite.chat.models import Message
from chatsite.chat.notify import group_of
from chatsite.chat.streaming import AnswerStreams, served_models
from chatsite.errors import ChatError, of_machine_error
from chatsite.generation.rows import record_paint
from chatsite.threads import in_thread
from inference.contract import CloseCode, ErrorCode

logger = logging.getLogger(__name__)

FRAMES_PER_S = 20.0
FRAMES_BURST = 60.0
CHECK_EVERY_S = 3.0
SESSION_EVERY_S = 10.0
BROKEN_RULES = (CloseCode.BINARY_FRAME, CloseCode.TOO_MANY_FRAMES)


class ChatConsumer(AsyncWebsocketConsumer):
    """A person's open page. Speaks chatsite.chat.frames, version frames.VERSION."""

    # --- opening and closing -----------------------------------------------------------------

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self._streams = AnswerStreams(user_id=self.user.pk, emit=self._emit, close=self._close)
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False
        self._budget, self._budget_at = FRAMES_BURST, time.monotonic()
        await self.accept()
        if not self.user.is_authenticated:
            await self._close(CloseCode.SIGNED_OUT)
            return
        self._serving = await in_thread(_serving)
        user = self.user.get_username()
        now = self._serving
        await self._emit(frames.Welcome(frames.VERSION, user, now.served, now.is_disk_low))
        self._watch = asyncio.create_task(self._keep_watch())

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Close the socket on an error outside of a frame's own handling; the page opens another
        one.
        """
        try:
            await super().dispatch(message)
        except StopConsumer:
            raise
        except Exception:
            logger.exception("%s failed", message["type"])
            with suppress(Exception):  # it may be closed already
                await self._close(CloseCode.BROKEN)

    async def _close(self, code: CloseCode) -> None:
        """Close once; frames that arrive afterwards are ignored."""
        if self._is_closed:
            return
        self._is_closed = True
        if code in BROKEN_RULES:
            logger.warning("a socket of person %s is closed: %s", self.user.pk, code.name)
        await self.close(int(code))  # Autobahn takes an int and nothing derived from it

    async def disconnect(self, code: int) -> None:
        self._streams.cancel_all()
        if self._watch is not None:
            self._watch.cancel()
        with suppress(Exception):  # Redis may be away
            await self.channel_layer.group_discard(group_of(self.user.pk), self.channel_name)

    async def _keep_watch(self) -> None:
        """Join the person's channel group, again after an outage of Redis, and poll for what no
        message told.
        """
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
                        await self._close(CloseCode.SIGNED_OUT)
                        return
                await self._streams.end_stored()
                await self._tell_serving()
            except Exception as error:  # database or Redis away: look again
                logger.warning("socket watch: %s", error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return  # redis-py makes an error of its own of a cancellation now and then
            await asyncio.sleep(CHECK_EVERY_S)

    async def _tell_serving(self) -> None:
        """Tell the page when a model has lost its last worker or got its first one, and when the
        disk has no more space for questions, or some again.
        """
        serving = await in_thread(_serving)
        if serving != self._serving:
            self._serving = serving
            await self._emit(serving)

    async def _has_session(self) -> bool:
        """Whether the session is still stored: the one in the scope was read when it connected."""
        session = self.scope.get("session")
        key = session.session_key if session is not None else None
        return key is None or await session.aexists(key)

    # --- frames in ---------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._is_closed:
            return  # sent before the client read the close code
        if not self.user.is_authenticated:
            await self._close(CloseCode.SIGNED_OUT)
        elif not self._within_budget():
            await self._close(CloseCode.TOO_MANY_FRAMES)
        elif text_data is None:
            await self._close(CloseCode.BINARY_FRAME)
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
        request: UUID | None = getattr(frame, "request", None)
        try:
            await self._handle(frame)
        except ChatError as error:
            await self._emit(frames.Refused(error.code, error.text, error.field, request))
        except Exception as error:
            failure = of_machine_error(error)
            if failure is not None:
                logger.warning("frame %s: %s (%s)", type(frame).__name__, failure.code, error)
            else:
                logger.exception("frame %s failed", type(frame).__name__)
                failure = ChatError(ErrorCode.INTERNAL)
            await self._emit(frames.Refused(failure.code, failure.text, "", request))

    async def _handle(self, frame: frames.Incoming) -> None:
        match frame:
            case frames.Send():
                await self._ask(
                    actions.send_message,
                    question_id=frame.question,
                    answer_id=frame.answer,
                    request_id=frame.request,
                    text=frame.text,
                    conversation_id=frame.conversation,
                    parent_id=frame.parent,
                    model_slug=frame.model,
                    preset_slug=frame.preset,
                )
            case frames.Regenerate():
                await self._ask(
                    actions.regenerate_answer,
                    answer_id=frame.answer,
                    request_id=frame.request,
                    message_id=frame.message,
                    model_slug=frame.model,
                    preset_slug=frame.preset,
                )
            case frames.Continue():
                await self._ask(
                    actions.continue_answer, request_id=frame.request, message_id=frame.message
                )
            case frames.Stop():
                await in_thread(actions.stop_answer, self.user, message_id=frame.message)
                await self._streams.end_stored()
            case frames.Watch():
                await self._start_watching(frame)
            case frames.Unwatch():
                self._streams.unfollow(frame.request)
            case frames.Painted():
                await in_thread(
                    record_paint,
                    user_id=self.user.pk,
                    request_id=frame.request,
                    first_paint_us=frame.first_paint_us,
                    last_paint_us=frame.last_paint_us,
                )
            case frames.Ping():
                await self._emit(frames.Pong())

    async def _ask(
        self, action: Callable[..., actions.Accepted], *, request_id: UUID, **asked: Any
    ) -> None:
        """Tell this tab what was stored, and stream the answer from its beginning."""
        accepted = await in_thread(
            action, self.user, request_id=request_id, channel=self.channel_name, **asked
        )
        await self._emit(await in_thread(_accepted_frame, request_id, accepted))
        answer = accepted.messages[-1]
        if answer.request_id == request_id:  # else it was asked long ago, and continued since
            await self._follow(request_id, answer, position=answer.num_tokens)

    async def _follow(self, request: UUID, answer: Message, *, position: int) -> None:
        if answer.state == Message.State.DONE:
            await self._streams.end(request)
        else:
            self._streams.follow(request, position=position)

    async def _start_watching(self, frame: frames.Watch) -> None:
        answer = await in_thread(own_answer_of, self.user, frame.request)
        await self._follow(frame.request, answer, position=frame.position)

    async def _emit(self, frame: frames.Outgoing) -> None:
        await self.send(text_data=frames.encode(frame))

    # --- messages of the channel layer (notify.py) -------------------------------------------

    async def conversation_changed(self, message: dict[str, Any]) -> None:
        conversation = UUID(message["conversation"])
        view = None
        if not message.get("deleted"):
            view = await in_thread(queries.one_conversation, conversation)
        await self._emit(frames.Changed(conversation, view is None, view))
        await self._streams.end_stored()

    async def messages_accepted(self, message: dict[str, Any]) -> None:
        if message["but_not"] == self.channel_name:
            return
        ids = [UUID(m) for m in message["messages"]]
        frame = await in_thread(_accepted_elsewhere, UUID(message["conversation"]), ids)
        if frame is not None:
            await self._emit(frame)

    async def session_ended(self, message: dict[str, Any]) -> None:
        """Signed out or deactivated. With a session key only that session's sockets close."""
        session = self.scope.get("session")
        key = message.get("session")
        if key is None or (session is not None and session.session_key == key):
            await self._close(CloseCode.SIGNED_OUT)


def _serving() -> frames.Serving:
    return frames.Serving(served_models(), disk_space.is_low())


def _accepted_frame(request: UUID, accepted: actions.Accepted) -> frames.Accepted:
    view = queries.one_conversation(accepted.conversation.id)
    assert view is not None
    return frames.Accepted(request, view, queries.message_views(accepted.messages))


def _accepted_elsewhere(conversation: UUID, ids: list[UUID]) -> frames.Accepted | None:
    view = queries.one_conversation(conversation)
    if view is None:
        return None
    found = Message.objects.in_bulk(ids)
    messages = [found[i] for i in ids if i in found]
    if not messages or messages[-1].request_id is None:
        return None
    return frames.Accepted(messages[-1].request_id, view, queries.message_views(messages))


def _refusal_of(text: str, error: Exception) -> frames.Refused:
    """Name the field at fault, and the request that the frame named when that can be read."""
    detail = str(error) if isinstance(error, msgspec.ValidationError) else _("not valid JSON")
    field = detail.rsplit("`$.", 1)[1].rstrip("`") if "`$." in detail else ""
    request: UUID | None = None
    with suppress(Exception):
        request = UUID(msgspec.json.decode(text)["request"])
    return frames.Refused(
        ErrorCode.BAD_FRAME, _("This frame was refused: %s") % detail, field, request
    )
