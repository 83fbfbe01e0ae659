"""What becomes of requests that lost their worker, wait too long, or fell out of their queue.

Used by the site's periodic task and by a worker that stops in order. Each decision is one move in
the ledger, so that any number of rescuers may try.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from kombu.exceptions import KombuError

from inference.contract import Delta, ErrorCode, Event, FinishReason, Result
from inference.queue import broker, ledger
from inference.queue.connection import settings
from inference.queue.ledger import Entry

log = logging.getLogger(__name__)

RESEND_AFTER_MS = 5_000


def resubmit(entry: Entry, *, is_lost: bool = True, is_ours: bool = False) -> bool:
    """Let a running request go on from its last token in another worker.

    False when it must not: tried too often, cancelled meanwhile, or somebody has it.
    """
    if entry.state != "running" or entry.is_cancelled:
        return False
    if is_lost and entry.losses >= settings().max_losses:
        return False
    request = entry.request
    tokens = tokens_of(ledger.read(entry.request_id), continued=request.continue_from)
    again = dataclasses.replace(request, attempt=entry.attempt + 1, continue_from=tokens)
    if not ledger.resubmit(entry, again, is_lost=is_lost, is_ours=is_ours):
        return False
    try:
        broker.send_generate(again)
    except (*ledger.RedisTrouble, KombuError) as error:  # resend_unqueued() finds it
        log.warning("request %s: its task was not sent (%s)", entry.request_id[:8], error)
    return True


def give_back(request_id: str, attempt: int, *, is_lost: bool, reason: Result) -> bool:
    """A worker can't go on with what it runs: put it back in line, or end it. True if it ended.

    `is_lost` counts against the request, as a crash does; `reason` is how it ends after too many.
    """
    entry = ledger.look(request_id)
    if entry is None or entry.attempt != attempt or entry.state != "running":
        return False
    if resubmit(entry, is_lost=is_lost, is_ours=True):
        return False
    entry = ledger.look(request_id)  # a cancel may have come between
    if entry is None or entry.attempt != attempt or entry.state != "running":
        return False
    if entry.is_cancelled:
        return end(entry, FinishReason.CANCELLED)
    return end(entry, FinishReason.INTERRUPTED, code=reason.error_code, text=reason.error_text)


def end(
    entry: Entry, reason: FinishReason, *, code: ErrorCode | None = None, text: str = ""
) -> bool:
    """End a request that waits, or one whose worker is gone. False when it has moved meanwhile."""
    request = entry.request
    result = Result(
        request_id=entry.request_id,
        attempt=entry.attempt,
        finish_reason=reason,
        error_code=code,
        error_text=text,
        prompt_tokens=len(request.prompt_token_ids),
        completion_tokens=entry.next_token,
        continued_tokens=len(request.continue_from),
        worker=entry.worker,
        seed=request.sampling.seed,
    )
    return ledger.end(entry, result)


def end_expired(entries: Iterable[Entry]) -> None:
    """End requests that nobody took up in time; lost ones keep what they have."""
    now = ledger.now_ms()
    for entry in entries:
        if now <= entry.expires_ms:
            continue
        if entry.losses:
            text = "The model's worker stopped, and no other took over in time."
            end(entry, FinishReason.INTERRUPTED, code=ErrorCode.WORKER_LOST, text=text)
        else:
            text = "No worker took this request up in time."
            end(entry, FinishReason.FAILED, code=ErrorCode.EXPIRED, text=text)


def resend_unqueued(entries: Iterable[Entry]) -> None:
    """Send the task of waiting requests again that lie in no queue: a worker took it and died.

    A task too many does no harm: it finds nothing to claim.
    """
    before = ledger.now_ms() - RESEND_AFTER_MS
    overdue = [entry for entry in entries if entry.sent_ms < before]
    for model in {entry.model for entry in overdue}:
        queued = broker.queued_requests(model)
        mine = [entry for entry in overdue if entry.model == model]
        for entry in mine:
            if entry.request_id not in queued:
                log.warning("request %s had fallen out of its queue", entry.request_id[:8])
                broker.send_generate(entry.request)
        ledger.mark_sent(entry.request_id for entry in mine)


def tokens_of(events: Iterable[Event], *, continued: tuple[int, ...]) -> tuple[int, ...]:
    """All tokens the answer has, `continued` ones first."""
    tokens = list(continued)
    for event in events:
        if isinstance(event, Delta) and event.position == len(tokens):
            tokens.extend(event.token_ids)
    return tuple(tokens)
