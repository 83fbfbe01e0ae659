"""All that the site may call: count, submit, cancel, read, follow, and what its reaper needs.

Never loads torch; tasks are sent by name. Redis trouble of any kind is `RedisUnavailable`, so that
callers needn't know how a broken connection shows.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from celery import Celery
from kombu.exceptions import OperationalError

from inference.contract import (
    Event,
    FinishReason,
    GenerationRequest,
    Result,
    WorkerSnapshot,
    from_wire,
)
from inference.streams import keys, ledger
from inference.streams.hub import Place, SlowReader, StreamHub
from inference.streams.settings import broker_url, connect, settings
from inference.text import (
    BadMessage,
    Fitted,
    ModelFolderError,
    PromptTooLong,
    TemplateFailed,
    TextModel,
    clean,
    model_folder,
    models_dir,
)
from inference.text import load_text as _load_text

__all__ = [
    "BadMessage",
    "ClientError",
    "Fitted",
    "ModelUnknown",
    "Place",
    "PromptTooLong",
    "QueueFull",
    "RedisUnavailable",
    "SlowReader",
    "StreamHub",
    "TextModel",
    "broker_url",
    "cancel",
    "clean",
    "context_length",
    "count_waiting",
    "describe",
    "fit",
    "forget",
    "hub",
    "interrupt",
    "is_known",
    "live_requests",
    "load_text",
    "lost_requests",
    "models_dir",
    "one_at_a_time",
    "place_in_line",
    "read",
    "resubmit",
    "submit",
    "unstored_results",
    "workers",
]

RESEND_AFTER_MS = 10_000


class ClientError(Exception):
    """`code` for programs, the text for people."""

    code = "inference_failed"


class RedisUnavailable(ClientError):
    code = "redis_unavailable"


class QueueFull(ClientError):
    code = "queue_full"


class ModelUnknown(ClientError):
    code = "model_unknown"


P = ParamSpec("P")
R = TypeVar("R")


def _redis_named(function: Callable[P, R]) -> Callable[P, R]:
    """Whatever a broken connection raises becomes RedisUnavailable."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (*ledger.RedisTrouble, OperationalError) as error:
            raise RedisUnavailable(f"Redis can't be reached: {type(error).__name__}") from error

    return wrapped


@functools.cache
def _celery() -> Celery:
    app = Celery("chatsite-client", broker=broker_url())
    app.conf.update(
        task_ignore_result=True,
        broker_connection_timeout=1.0,
        broker_transport_options=broker_options(),
        broker_connection_retry=False,
        broker_connection_max_retries=0,
    )
    return app


def broker_options() -> dict[str, Any]:
    """The same for client and workers, or they don't see one another's tasks."""
    return {
        "visibility_timeout": 6 * 3600,  # our leases rescue, never a redelivery
        "queue_order_strategy": "priority",
        "priority_steps": [0, 3, 6, 9],
        "global_keyprefix": f"{settings().prefix}:celery:",
        "socket_connect_timeout": 1.0,
        "socket_timeout": 20.0,
        "retry_on_timeout": False,
    }


def queue_of(model: str) -> str:
    return f"model.{model}"


# --- text ----------------------------------------------------------------------------------------


def load_text(model: str) -> TextModel:
    """Template and vocabulary of a model by slug. Raises ModelUnknown."""
    try:
        return _load_text(model_folder(model))
    except ModelFolderError as error:
        raise ModelUnknown(str(error)) from error


def context_length(model: str) -> int | None:
    """The model's context in tokens; None when its folder isn't there (yet)."""
    try:
        return load_text(model).context_length
    except ModelUnknown:
        return None


def fit(
    model: str,
    messages: Sequence[dict[str, str]],
    *,
    max_tokens: int,
    continued_tokens: int = 0,
) -> Fitted:
    """The conversation as a prompt that fits. Raises PromptTooLong, ModelUnknown, ClientError."""
    try:
        return load_text(model).fit(
            messages, max_tokens=max_tokens, continued_tokens=continued_tokens
        )
    except (BadMessage, TemplateFailed) as error:
        raise ClientError(str(error)) from error


def describe(model: str) -> dict[str, Any]:
    """What a model is made of, from its configuration and headers. Raises ModelUnknown."""
    from inference.models.describe import describe as of_folder

    try:
        return of_folder(model_folder(model))
    except (ModelFolderError, ValueError, OSError) as error:
        raise ModelUnknown(str(error)) from error


# --- requests ------------------------------------------------------------------------------------


@_redis_named
def submit(request: GenerationRequest) -> None:
    """Put a request in line and its task on the model's queue. A second time does nothing.

    Raises QueueFull, RedisUnavailable (nothing is left behind then).
    """
    outcome = ledger.submit(request)
    if outcome == "full":
        raise QueueFull(f"{settings().max_waiting} requests wait for this model already.")
    if outcome == "ok":
        try:
            _send(request)
        except Exception:
            ledger.withdraw(request)
            raise


def _send(request: GenerationRequest) -> None:
    from inference.contract import to_wire

    _celery().send_task(
        "inference.generate",
        [to_wire(request)],
        queue=queue_of(request.model),
        priority=min(9, request.priority),
        retry=False,
    )


@_redis_named
def cancel(request_id: str) -> bool:
    """End a request: at once while it waits, within a step while it runs. False if it is over."""
    for _ in range(3):  # it may be taken up just now
        entry = ledger.look(request_id)
        if entry is None or entry.state == "ended":
            return False
        if entry.state == "running":
            ledger.order_cancel(entry)
            return True
        if _end(entry, "cancelled"):
            return True
    return False


def _end(entry: ledger.Entry, reason: FinishReason, *, code: str = "", text: str = "") -> bool:
    """End a request that waits, raising its attempt, or one whose worker is gone."""
    waiting = entry.state == "waiting"
    request = entry.request
    events = ledger.read(entry.request_id)
    tokens = ledger.tokens_of(events, continued=request.continue_from)
    result = Result(
        request_id=entry.request_id,
        attempt=entry.attempt + 1 if waiting else entry.attempt,
        finish_reason=reason,
        error_code=code,
        error_text=text,
        prompt_tokens=len(request.prompt_token_ids),
        completion_tokens=len(tokens),
        continued_tokens=len(request.continue_from),
        seed=request.sampling.seed,
    )
    if waiting:
        return ledger.end_waiting(entry, result)
    return ledger.finish(result, model=entry.model)


@_redis_named
def read(request_id: str) -> list[Event]:
    """Every event so far; empty when nothing was written or it is forgotten."""
    return ledger.read(request_id)


@_redis_named
def is_known(request_id: str) -> bool:
    return ledger.look(request_id) is not None


@_redis_named
def forget(request_id: str) -> None:
    ledger.forget(request_id)


@_redis_named
def place_in_line(model: str, request_id: str) -> int | None:
    return ledger.place(model, request_id)


@_redis_named
def count_waiting(model: str) -> int:
    return ledger.count_waiting(model)


@functools.cache
def hub() -> StreamHub:
    """The hub of this process; call it from the event loop that follows."""
    return StreamHub()


# --- for the periodic task -------------------------------------------------------------------------


@_redis_named
def live_requests() -> list[str]:
    return [entry.request_id for entry, _ in ledger.live()]


@_redis_named
def unstored_results() -> list[str]:
    """Requests that have ended and whose answer nobody has stored."""
    return ledger.ended()


@_redis_named
def lost_requests() -> list[str]:
    """Requests that run without a lease: their worker is gone. Expired ones are ended here.

    Waiting ones whose task may be lost are sent again; a task too many finds nothing to claim.
    """
    lost = []
    settled = ledger.is_settled()
    now = ledger.now_ms()
    for entry, is_leased in ledger.live():
        if entry.state == "running" and not is_leased and settled:
            lost.append(entry.request_id)
        elif entry.state == "waiting" and now > entry.expires_ms:
            text = "No worker took this request up in time."
            _end(entry, "failed", code="expired", text=text)
        elif entry.state == "waiting" and now > entry.sent_ms + RESEND_AFTER_MS:
            ledger.mark_sent(entry.request_id)
            _send(entry.request)
    return lost


@_redis_named
def resubmit(request_id: str) -> bool:
    """Let a lost request go on from its last token in another worker.

    False when it must not: tried too often, cancelled meanwhile, or not lost any more.
    """
    entry = ledger.look(request_id)
    if entry is None or entry.state != "running":
        return False
    if entry.attempt >= settings().max_attempts or entry.is_cancelled:
        return False
    request = entry.request
    tokens = ledger.tokens_of(ledger.read(request_id), continued=request.continue_from)
    again = dataclasses.replace(
        request.next_attempt(continue_from=tokens), attempt=entry.attempt + 1
    )
    if not ledger.resubmit(entry, again):
        return False
    _send(again)
    return True


@_redis_named
def interrupt(request_id: str) -> bool:
    """End a lost request, keeping what was written. Cancelled ones end as cancelled."""
    entry = ledger.look(request_id)
    if entry is None or entry.state == "ended":
        return False
    if entry.is_cancelled:
        return _end(entry, "cancelled")
    return _end(entry, "interrupted", code="worker_lost", text="The model's worker stopped.")


@contextmanager
def one_at_a_time(name: str, *, seconds: int) -> Iterator[bool]:
    """A lock over all processes: yields whether it is ours. Ends by itself after `seconds`."""
    mine = secrets.token_hex(8)
    try:
        got = bool(connect().set(keys.lock(name), mine, nx=True, ex=seconds))
    except ledger.RedisTrouble as error:
        raise RedisUnavailable("Redis can't be reached") from error
    try:
        yield got
    finally:
        if got:
            try:
                if connect().get(keys.lock(name)) == mine.encode():
                    connect().delete(keys.lock(name))
            except ledger.RedisTrouble:
                pass  # it runs out by itself


# --- workers ---------------------------------------------------------------------------------------


@_redis_named
def workers() -> list[WorkerSnapshot]:
    """What each live worker says of itself, by name."""
    client = connect()
    names = sorted(member.decode() for member in client.smembers(keys.workers()))
    found = []
    for name in names:
        text = client.get(keys.worker(name))
        if text is None:
            client.srem(keys.workers(), name)
        else:
            snapshot = from_wire(WorkerSnapshot, text)
            found.append(dataclasses.replace(snapshot, model_info=json.loads(text)["model_info"]))
    return found
