"""The answers that one socket follows: their events as frames, up to the stored end of each.

Events come from the hub of this process (one Redis connection for all sockets); what an answer was
in the end is read from the database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from uuid import UUID

from chatsite.chat import frames, queries
from chatsite.chat.models import Message
from chatsite.errors import ChatError
from chatsite.generation.follow import StreamLost, follow
from chatsite.generation.store import store
from chatsite.threads import in_thread
from inference import client
from inference.contract import (
    CloseCode,
    Delta,
    ErrorCode,
    Event,
    Phase,
    Progress,
    Result,
    Started,
    WorkerState,
)

logger = logging.getLogger(__name__)

MAX_FOLLOWED = 32
BEHIND_S = 0.5
"""How long a stream may still take to bring the last tokens of an answer that is stored."""


class AnswerStreams:
    """Follows answers for one person's page. Not thread-safe: of one event loop."""

    def __init__(
        self,
        *,
        user_id: int,
        emit: Callable[[frames.Outgoing], Awaitable[None]],
        close: Callable[[CloseCode], Awaitable[None]],
    ) -> None:
        self._user_id = user_id
        self._emit = emit
        self._close = close
        self._followed: dict[UUID, asyncio.Task[None]] = {}

    def follow(self, request: UUID, *, position: int) -> None:
        """Send the answer's events from token `position` on. Raises ChatError for one too many."""
        if old := self._followed.pop(request, None):
            old.cancel()
        elif len(self._followed) >= MAX_FOLLOWED:
            raise ChatError(ErrorCode.TOO_MANY_STREAMS)
        self._followed[request] = asyncio.create_task(self._stream(request, position))

    def unfollow(self, request: UUID) -> None:
        """Send nothing more of this answer."""
        if task := self._followed.pop(request, None):
            task.cancel()

    def cancel_all(self) -> None:
        """End every stream: the socket is closed."""
        for task in self._followed.values():
            task.cancel()
        self._followed.clear()

    async def end(self, request: UUID) -> None:
        """Send `ended` for an answer that has ended, whether it was followed or not."""
        self.unfollow(request)
        for view in await in_thread(_ended_views, self._user_id, [request]):
            await self._emit(frames.Ended(request, view))

    async def end_stored(self) -> None:
        """Send `ended` for every followed answer that the database knows as ended.

        A stream that is only a moment behind goes first, so that its last tokens come as tokens.
        Not to be called by a stream: it would wait for itself.
        """
        if not self._followed:
            return
        views = await in_thread(_ended_views, self._user_id, list(self._followed))
        behind = [self._followed[v.request] for v in views if v.request in self._followed]
        if behind:
            await asyncio.wait(behind, timeout=BEHIND_S)
            await self._end_followed([v.request for v in views if v.request in self._followed])

    async def _end_followed(self, requests: Iterable[UUID]) -> None:
        """Send `ended` for those of these answers that have ended, if nobody has sent it yet."""
        for view in await in_thread(_ended_views, self._user_id, list(requests)):
            assert view.request is not None  # the rows were selected by it
            task = self._followed.pop(view.request, None)
            if task is None:
                continue
            await self._emit(frames.Ended(view.request, view))
            if task is not asyncio.current_task():
                task.cancel()

    async def _stream(self, request: UUID, position: int) -> None:
        try:
            with suppress(StreamLost):  # its end may be stored all the same
                async for event in follow(request.hex, position=position, joins=True):
                    if isinstance(event, Result):
                        await in_thread(store, request)
                    elif frame := await _frame_of(request, event):
                        await self._emit(frame)
            await self._end_followed([request])
        except client.SlowReader:
            await self._close(CloseCode.SLOW_READER)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("stream of %s broke", request.hex[:8])
            await self._close(CloseCode.BROKEN)  # the page goes on from where it was


async def _frame_of(request: UUID, event: Event | client.QueuePosition) -> frames.Outgoing | None:
    """The frame that tells the page of an event; None where the page needs none."""
    match event:
        case Delta():
            return frames.Delta(
                request, event.position, len(event.token_ids), event.text, event.text_offset
            )
        case Progress():
            return frames.Phase(request, event.phase, done=event.done, total=event.total)
        case client.QueuePosition():
            is_loading = await in_thread(_is_model_loading, request)
            phase = Phase.LOADING if is_loading else Phase.QUEUED
            return frames.Phase(request, phase, place=event.position)
        case Started() if event.attempt > 1:
            return frames.Phase(request, Phase.RECOVERING)
    return None


def served_models() -> list[str] | None:
    """The models that some worker holds or loads; None when nobody knows, with Redis away."""
    with suppress(client.RedisUnavailable):
        workers = client.workers()
        return sorted(
            {w.model for w in workers if w.model and w.engine.state is not WorkerState.FAILED}
        )
    return None


def _is_model_loading(request: UUID) -> bool:
    """Whether this answer waits for its model: workers have it, and none has it loaded yet."""
    message = Message.objects.filter(request_id=request).only("model_slug").first()
    if message is None:
        return False
    with suppress(client.RedisUnavailable):
        states = {w.engine.state for w in client.workers() if w.model == message.model_slug}
        return bool(states) and states <= {WorkerState.LOADING, WorkerState.WARMING}
    return False


def _ended_views(user_id: int, requests: list[UUID]) -> list[frames.MessageView]:
    rows = Message.objects.filter(
        request_id__in=requests, conversation__owner_id=user_id, state=Message.State.DONE
    )
    return queries.message_views(rows.defer("token_ids"))
