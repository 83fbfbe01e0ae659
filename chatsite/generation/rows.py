"""The only writer of Generation and Attempt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from chatsite.disk_space import require_space
from chatsite.generation.figures import AttemptTimeline, figures_of
from chatsite.generation.models import Attempt, Generation
from inference.client import clean
from inference.contract import (
    ErrorCode,
    GenerationRequest,
    Result,
    SamplingParams,
    Stamp,
    offset_us,
    to_wire,
)

UNFINISHED = (Generation.State.PENDING, Generation.State.QUEUED, Generation.State.RUNNING)


def open_generation(request: GenerationRequest, **identity: Any) -> Generation:
    """Store a request as it was accepted, before it is submitted.

    Call inside the transaction that stores the question. `identity` are further fields of the row.
    Raises ChatError while the disk is nearly full: each question ends here, from a page or the API.
    """
    require_space()
    return Generation.objects.create(
        request_id=UUID(request.request_id),
        source=request.source,
        model_slug=request.model,
        sampling=storable(asdict(request.sampling)),
        received_at=dt.datetime.fromtimestamp(request.received.wall_us / 1e6, tz=dt.UTC),
        received_stamp=asdict(request.received),
        continued_tokens=len(request.continue_from),
        accepted_request=to_wire(request),
        **identity,
    )


def storable(sampling: dict[str, Any]) -> dict[str, Any]:
    """Parameters as any database takes them: PostgreSQL's JSON knows no NUL."""
    return sampling | {"stop": [clean(text) for text in sampling["stop"]]}


def stored_sampling(generation: Generation, *, max_tokens: int) -> SamplingParams:
    """The parameters that a request was made with, with another limit. JSON has no tuples."""
    names = {field.name for field in fields(SamplingParams)}
    kept = {name: _tuples(value) for name, value in generation.sampling.items() if name in names}
    most = int(SamplingParams.RANGES["max_tokens"][1])
    return SamplingParams(**kept | {"max_tokens": min(max_tokens, most)})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def received_of(generation: Generation) -> Stamp:
    return Stamp(**generation.received_stamp)


def mark_submitted(request_id: UUID, received: Stamp, submitted: Stamp) -> None:
    """Store when a request was queued, whatever its state is by now; PENDING becomes QUEUED."""
    pending, queued = Generation.State.PENDING, Generation.State.QUEUED
    Generation.objects.filter(request_id=request_id, submitted_us=None).update(
        state=Case(When(state=pending, then=Value(queued)), default=F("state")),
        submitted_us=offset_us(received, submitted)[0],
    )


def mark_running(request_ids: Iterable[UUID]) -> None:
    """Note that these requests run, where that isn't known yet."""
    Generation.objects.filter(
        request_id__in=list(request_ids),
        state__in=(Generation.State.PENDING, Generation.State.QUEUED),
    ).update(state=Generation.State.RUNNING)


def close_generation(
    generation: Generation, result: Result, attempts: Sequence[AttemptTimeline]
) -> bool:
    """Write how a request ended, once. False when somebody else has done it already.

    Call inside the transaction that stores the answer.
    """
    received = received_of(generation)
    figures = figures_of(received, attempts)
    sampled = sum(len(a.tokens) for a in attempts)
    # A lost Redis takes the stamps of tokens that a checkpoint has.
    kept = result.completion_tokens - generation.continued_tokens
    closed = Generation.objects.filter(
        request_id=generation.request_id, state__in=UNFINISHED
    ).update(
        state=result.finish_reason,
        error_code=result.error_code or "",
        error_text=clean(result.error_text)[:300],
        model_revision=result.model_revision[:64],
        dtype=result.dtype[:16],
        prompt_tokens=result.prompt_tokens or None,
        cached_tokens=result.cached_tokens if result.admitted else None,
        completion_tokens=max(sampled, kept),
        batch_mean=result.batch_mean,
        tpot_floor_us=result.tpot_floor_us,
        prefill_floor_us=result.prefill_floor_us,
        attempts_used=max(1, len(attempts)),
        worker=result.worker[:100],
        device=result.device[:100],
        stored_at=timezone.now(),
        accepted_request="",
        **figures.as_row(),
    )
    if not closed:
        return False
    refuse_impossible_paint(generation.request_id)
    Attempt.objects.bulk_create(
        [_attempt_row(generation, received, a, result) for a in attempts], ignore_conflicts=True
    )
    return True


def _attempt_row(
    generation: Generation, received: Stamp, timeline: AttemptTimeline, result: Result
) -> Attempt:
    def at(moment: Stamp | None) -> int | None:
        return None if moment is None else offset_us(received, moment)[0]

    is_last = timeline.number == result.attempt
    return Attempt(
        generation=generation,
        number=timeline.number,
        worker=timeline.worker[:100],
        device=result.device[:100] if is_last else "",
        state=result.finish_reason if is_last else Generation.State.INTERRUPTED,
        error_code=result.error_code or "" if is_last else ErrorCode.WORKER_LOST,
        started_us=at(timeline.started),
        admitted_us=at(timeline.admitted),
        first_token_us=at(timeline.tokens[0]) if timeline.tokens else None,
        last_token_us=at(timeline.tokens[-1]) if timeline.tokens else None,
        tokens=len(timeline.tokens),
    )


PAINT_SLACK_US = 5_000_000
"""A browser's clock starts when a question is sent; so long may its way to the site have taken."""


def record_paint(
    *, user_id: int, request_id: UUID, first_paint_us: int, last_paint_us: int
) -> bool:
    """Keep the browser's own stamps, the first time they come, for one's own request only.

    Stamps that can't be are refused and counted: a first paint after the last, one before the token
    that it shows, more time than has passed since the question was received.
    """
    reported = Generation.objects.filter(
        request_id=request_id, user_id=user_id, user_ttft_us__isnull=True
    )
    row = reported.only("received_at", "ttft_us", "latency_us").first()
    if row is None:
        return False
    passed_us = (timezone.now() - row.received_at) / dt.timedelta(microseconds=1)
    is_possible = (row.ttft_us or 0) <= first_paint_us <= last_paint_us and (
        row.latency_us or 0
    ) <= last_paint_us <= passed_us + PAINT_SLACK_US
    if not is_possible:
        reported.update(is_paint_refused=True)
        return False
    return bool(reported.update(user_ttft_us=first_paint_us, user_latency_us=last_paint_us))


def refuse_impossible_paint(request_id: UUID) -> None:
    """Remove browser stamps that came before the end was stored and that its figures contradict."""
    Generation.objects.filter(
        Q(user_latency_us__lt=F("latency_us")) | Q(user_ttft_us__lt=F("ttft_us")),
        request_id=request_id,
    ).update(user_ttft_us=None, user_latency_us=None, is_paint_refused=True)
