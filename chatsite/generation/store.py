"""How a request's end is stored: answer, state and figures in one transaction, once.

Three may try: the page that follows the answer, the task that the worker sends, and the periodic
task. The first one wins, by a conditional UPDATE.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from chatsite.generation import token_trace
from chatsite.generation.answers import answers_of
from chatsite.generation.models import Generation
from chatsite.generation.rows import close_generation
from chatsite.generation.transcript import Transcript
from inference import client
from inference.contract import ErrorCode, FinishReason, Result


def store(request_id: UUID) -> bool:
    """Store a request whose terminal entry is in its stream.

    True when it is stored now, by this call or an earlier one.
    """
    generation = Generation.objects.filter(request_id=request_id).first()
    if generation is not None and not generation.is_terminal:
        transcript = opened_transcript(generation).fold(client.read(request_id.hex))
        if transcript.result is None:
            return False
        _close(generation, transcript)
    client.forget(request_id.hex)  # also of a row that was deleted meanwhile
    return True


def end_without_worker(
    request_id: UUID, reason: FinishReason, *, code: ErrorCode | None = None, text: str = ""
) -> bool:
    """End a request that no worker has, keeping what was written. False if it has ended already."""
    generation = Generation.objects.filter(request_id=request_id).first()
    if generation is None:
        return False
    written = answers_of(generation.source).written(request_id)
    transcript = Transcript(*written) if written else Transcript()
    transcript.result = _result_of(generation, transcript, reason, code=code, text=text)
    return _close(generation, transcript)


def end_unreadable(request_id: UUID) -> None:
    """End a request whose terminal entry is written and can't be read: interrupted, its text kept.

    Without that it would be tried for ever.
    """
    generation = Generation.objects.filter(request_id=request_id).first()
    if generation is not None and not generation.is_terminal:
        transcript = opened_transcript(generation).fold(client.read(request_id.hex))
        code = ErrorCode.QUEUE_LOST
        transcript.result = transcript.result or _result_of(
            generation, transcript, FinishReason.INTERRUPTED, code=code, text=code.sentence
        )
        _close(generation, transcript)
    client.forget(request_id.hex)


def _result_of(
    generation: Generation,
    transcript: Transcript,
    reason: FinishReason,
    *,
    code: ErrorCode | None,
    text: str,
) -> Result:
    """An end that no worker has written."""
    return Result(
        request_id=generation.request_id.hex,
        attempt=generation.attempts_used,
        finish_reason=reason,
        error_code=code,
        error_text=text,
        completion_tokens=len(transcript.token_ids),
    )


def opened_transcript(generation: Generation) -> Transcript:
    """The transcript that the request's events are to be folded into.

    A continued answer begins with the tokens it had; the first delta's offset cuts any text that a
    checkpoint has added since.
    """
    if not generation.continued_tokens:
        return Transcript()
    written = answers_of(generation.source).written(generation.request_id)
    if written is None:
        return Transcript()
    text, token_ids = written
    return Transcript(text, token_ids[: generation.continued_tokens])


def _close(generation: Generation, transcript: Transcript) -> bool:
    """False when somebody else has closed the request already."""
    assert transcript.result is not None
    with transaction.atomic():
        if not close_generation(generation, transcript.result, transcript.timelines):
            return False
        answers_of(generation.source).finished(generation.request_id, transcript)
        token_trace.save(generation, transcript)
    return True
