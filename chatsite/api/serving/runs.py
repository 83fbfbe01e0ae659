"""The requests of one API call: stored, queued, followed, and cancelled when nobody listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings
from django.db import transaction

from chatsite.api.access.quotas import check_quota, check_unfinished
from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError, of_client_error, of_result, unavailable
from chatsite.api.models import ApiKey
from chatsite.api.schemas.replies import Timings, Usage
from chatsite.api.serving.choice import Choice, Piece
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.generation.follow import StreamLost, follow
from chatsite.generation.models import Generation
from chatsite.generation.rows import open_generation
from chatsite.generation.store import end_without_worker
from chatsite.generation.submit import cancel_unwanted, note_submitted, submit
from chatsite.threads import API_POOL
from inference import client
from inference.contract import (
    ErrorCode,
    Event,
    FinishReason,
    Progress,
    Started,
    WorkerState,
)

logger = logging.getLogger(__name__)

MAX_UNTAKEN = 64  # events that lie between the hub and a client; the hub bounds those behind

Item = tuple[Choice, Event | client.QueuePosition] | Exception


@dataclass
class Run:
    """One call's choices. `note` is what a heartbeat says."""

    key: ApiKey
    model: LanguageModel
    choices: list[Choice]
    headers: dict[str, str] = field(default_factory=dict)
    note: str = "waiting"

    @property
    def id(self) -> str:
        """The first choice's request id: it opens that request's page."""
        return self.choices[0].request.request_id

    # --- before: call in a thread -----------------------------------------------------------

    def open(self, preset: SamplingPreset | None) -> None:
        """Store every request and put it on the queue. Raises ApiError; nothing then runs on."""
        number, param = len(self.choices), self._param_of_number()
        with transaction.atomic():
            check_unfinished(self.key, requests=number, param=param)
            self.headers |= check_quota(self.key, requests=number, param=param)
            for choice in self.choices:
                open_generation(
                    choice.request,
                    subject=None,
                    user_id=self.key.owner_id,
                    state=Generation.State.QUEUED,  # it is sent at once, or ended
                    api_key=self.key.prefix,
                    prompt_tokens=len(choice.request.prompt_token_ids),  # a quota counts them now
                    model_version=self.model.version,
                    preset_slug=preset.slug if preset else "",
                    preset_version=preset.version if preset else None,
                )
        sent: list[Choice] = []
        try:
            for choice in self.choices:
                choice.submitted = submit(choice.request)
                sent.append(choice)
        except Exception as error:
            stop(sent)
            code = error.code if isinstance(error, client.ClientError) else ErrorCode.NOT_SENT
            for choice in self.choices[len(sent) :]:
                end_without_worker(
                    UUID(choice.request.request_id),
                    FinishReason.FAILED,
                    code=code,
                    text=str(error)[:300],
                )
            if isinstance(error, client.ClientError):
                raise of_client_error(error) from error
            raise

    def _param_of_number(self) -> str:
        """The parameter to blame for too many choices: the list of prompts, or `n`."""
        prompts = self.choices[-1].prompt_index + 1
        return "prompt" if prompts > len(self.choices) // prompts else "n"

    # --- meanwhile ---------------------------------------------------------------------------

    async def pieces(self) -> AsyncGenerator[tuple[Choice, Piece] | None, None]:
        """Pieces of all choices as they become visible; None after a heartbeat's time without any.

        Progress that nobody sees (a place in the queue, a chunk of prefill) doesn't count as a
        piece. A caller that stops early, by an error or because the client went away, stops the
        requests that still run.
        """
        queue: asyncio.Queue[Item] = asyncio.Queue(MAX_UNTAKEN)
        pumps = [asyncio.create_task(_pump(choice, queue)) for choice in self.choices]
        left = len(pumps)
        noted = False
        clock = asyncio.get_running_loop().time
        silent_until = clock() + settings.API_HEARTBEAT_S
        try:
            while left:
                try:
                    async with asyncio.timeout_at(silent_until):
                        item = await queue.get()
                except TimeoutError:
                    yield None
                    silent_until = clock() + settings.API_HEARTBEAT_S
                    continue
                if isinstance(item, Exception):
                    raise item
                choice, event = item
                if not noted and not isinstance(event, client.QueuePosition | Started):
                    noted = True  # a write that no first token has to wait for
                    API_POOL.submit(_note_submitted, self.choices)
                self._note(event)
                piece = None if isinstance(event, client.QueuePosition) else choice.take(event)
                left -= choice.result is event
                if piece is not None:
                    yield choice, piece
                    silent_until = clock() + settings.API_HEARTBEAT_S
        finally:
            for pump in pumps:
                pump.cancel()
            if running := [choice for choice in self.choices if choice.result is None]:
                API_POOL.submit(stop, running)

    def _note(self, event: Event | client.QueuePosition) -> None:
        if isinstance(event, client.QueuePosition):
            self.note = f"queued, place {event.position}"
        elif isinstance(event, Progress):
            self.note = f"{event.phase} {event.done}/{event.total}"

    # --- after -------------------------------------------------------------------------------

    def usage(self) -> Usage:
        first = {choice.prompt_index: choice for choice in reversed(self.choices)}
        prompt = sum(len(choice.request.prompt_token_ids) for choice in first.values())
        completion = sum(choice.completion_tokens for choice in self.choices)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": sum(choice.cached_tokens for choice in first.values())
            },
            "completion_tokens_details": {
                "reasoning_tokens": sum(choice.reasoning_tokens for choice in self.choices)
            },
        }

    def timings(self) -> Timings:
        each = [choice.timings() for choice in self.choices]
        timings: Timings = {**each[0]}
        if len(each) > 1:
            timings["choices"] = each
        return timings


def _note_submitted(choices: Sequence[Choice]) -> None:
    for choice in choices:
        note_submitted(choice.request, choice.submitted)


async def _pump(choice: Choice, queue: asyncio.Queue[Item]) -> None:
    try:
        async for event in follow(choice.request.request_id):
            await queue.put((choice, event))
    except StreamLost:
        await queue.put(of_result(ErrorCode.QUEUE_LOST, ErrorCode.QUEUE_LOST.sentence))
    except client.SlowReader:
        await queue.put(ApiError(500, "The answer was read too slowly.", code=ApiCode.SLOW_READER))
    except Exception as error:
        await queue.put(error)


def stop(choices: Sequence[Choice]) -> None:
    """Cancel requests that nobody waits for."""
    cancel_unwanted(choice.request.request_id for choice in choices)


SERVED_S = 1.0
_served_until: dict[str, float] = {}  # monotonic seconds: a worker of the model was seen lately


def refuse_without_worker(model: LanguageModel) -> None:
    """Raise ApiError 503 when no worker serves the model, before anything is stored."""
    now = time.monotonic()
    if _served_until.get(model.slug, 0.0) > now:
        return
    try:
        snapshots = client.workers()
    except client.RedisUnavailable as error:
        raise of_client_error(error) from error
    if not any(s.model == model.slug and s.engine.state != WorkerState.FAILED for s in snapshots):
        text = f"No worker serves the model '{model.slug}' at the moment. Try again later."
        raise unavailable(text, code=ErrorCode.NO_WORKER, retry_after_s=15)
    _served_until[model.slug] = now + SERVED_S
