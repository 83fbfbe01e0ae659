"""Every code and state that a program or a page may see, with what follows from it.

Each code is written down once, here: its sentence, the HTTP status of a refusal with it, and
whether an answer that ended so can be continued. Sentences are English and are the message ids of
the translations: the site shows them through gettext (`chatsite.error_messages`), programs and logs
read them as they are. The page gets what it needs of this as data (`chatsite.chat.page_data`).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Self


def _(sentence: str) -> str:
    """Mark a sentence for `makemessages`; it is translated where it is shown."""
    return sentence


class FinishReason(StrEnum):
    """The terminal states of a request. Each request ends in exactly one."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_continuable(self) -> bool:
        """Whether "Continue" goes on from the last token of an answer that ended so."""
        return self is not FinishReason.STOP


class RequestState(StrEnum):
    """Where a request is in the queue. An ended one has a FinishReason."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


class Phase(StrEnum):
    """What happens to an answer before its first token."""

    PENDING = "pending"  # stored; the queue can't be reached
    QUEUED = "queued"
    LOADING = "loading"  # the worker loads the model
    PREFILL = "prefill"
    RECOVERING = "recovering"  # its worker was lost; another one goes on


class WorkerState(StrEnum):
    """What a worker process is doing with its model."""

    EMPTY = "empty"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    FAILED = "failed"

    @property
    def label(self) -> str:
        return _WORKER_LABELS[self]


_WORKER_LABELS = {
    WorkerState.EMPTY: _("no model loaded"),
    WorkerState.LOADING: _("loading"),
    WorkerState.WARMING: _("warming up"),
    WorkerState.READY: _("ready"),
    WorkerState.FAILED: _("failed"),
}


class CloseCode(IntEnum):
    """Why the site closes a socket.

    An application may send 1000 and 3000 to 4999 alone; 1009 is sent by the WebSocket layer itself.
    """

    FRAME_TOO_BIG = 1009
    BINARY_FRAME = 4403
    SIGNED_OUT = 4401
    TOO_MANY_FRAMES = 4408
    SLOW_READER = 4409
    BROKEN = 4500


class ErrorCode(StrEnum):
    """Why a request was refused or failed. `status` is HTTP's; 503 may be tried again."""

    status: int
    sentence: str

    def __new__(cls, value: str, status: int, sentence: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.status, member.sentence = status, sentence
        return member

    @property
    def is_retryable(self) -> bool:
        return self.status in (429, 503)

    @classmethod
    def parse(cls, value: str) -> ErrorCode | None:
        """The code stored under that name; None for "" and for a code that no longer exists."""
        member = cls._value2member_map_.get(value)
        return member if isinstance(member, cls) else None

    @classmethod
    def _missing_(cls, value: object) -> ErrorCode | None:
        """A code of a newer version is an error all the same."""
        return cls.INTERNAL if isinstance(value, str) and value else None

    # The queue and the workers
    QUEUE_FULL = (
        "queue_full", 503, _("Too many requests wait for this model. Try again in a while."),
    )  # fmt: skip
    QUEUE_UNAVAILABLE = (
        "queue_unavailable", 503, _("The queue can't be reached just now. Try again."),
    )  # fmt: skip
    QUEUE_LOST = "queue_lost", 503, _("The queue lost this request. What was written is kept.")
    NOT_SENT = "not_sent", 503, _("This request could not be sent to a worker.")
    EXPIRED = "expired", 503, _("No worker took this up in time.")
    NO_WORKER = "no_worker", 503, _("No worker serves this model just now.")
    WORKER_LOST = "worker_lost", 503, _("The model's worker stopped.")
    WORKER_SILENT = "worker_silent", 503, _("The worker doesn't answer.")
    NO_SUCH_REQUEST = "no_such_request", 404, _("There is no such request.")

    # The engine
    ENGINE_ERROR = "engine_error", 503, _("The model failed on this request.")
    ENGINE_FAILED = "engine_failed", 503, _("The model's engine stopped working.")
    ENGINE_STOPPED = "engine_stopped", 503, _("The worker was stopped.")
    MODEL_FAILED = "model_failed", 503, _("The worker could not load the model.")
    OUT_OF_MEMORY = "out_of_memory", 503, _("There was not enough memory for this answer.")
    BAD_LOGITS = "bad_logits", 500, _("The model's output was not a number.")

    # What was asked for
    MODEL_UNKNOWN = (
        "model_unknown", 404, _("This model isn't here any more, or its folder can't be read."),
    )  # fmt: skip
    PRESET_UNKNOWN = "preset_unknown", 404, _("This preset isn't here any more.")
    BAD_PRESET = "bad_preset", 400, _("This preset holds a value that can't be used.")
    TEMPLATE_FAILED = (
        "template_failed", 400, _("The model's template can't be filled with this conversation."),
    )  # fmt: skip
    PROMPT_TOO_LONG = "prompt_too_long", 400, _("This is too long for the model's context.")
    EMPTY_PROMPT = "empty_prompt", 400, _("There was nothing to answer to.")
    BAD_TOKEN = "bad_token", 400, _("The prompt holds a token that the model doesn't know.")
    BAD_SCHEMA = "bad_schema", 400, _("The model can't be held to this JSON schema.")
    NO_TOKEN_ALLOWED = (
        "nothing_allowed", 400, _("The rules of this request leave no token to go on with."),
    )  # fmt: skip

    # The chat
    EMPTY_MESSAGE = "empty", 400, _("Write something first.")
    TEXT_TOO_LONG = "text_too_long", 400, _("This message is too long.")
    TITLE_TOO_LONG = "title_too_long", 400, _("This title is too long.")
    NO_SUCH_PARENT = (
        "no_such_parent", 400, _("The message that this one follows isn't there any more."),
    )  # fmt: skip
    NOT_CONTINUABLE = (
        "not_continuable", 400, _("This answer is complete; there is nothing to continue."),
    )  # fmt: skip
    ANSWER_CHANGED = (
        "answer_changed", 409, _("This answer has changed meanwhile. Look at it again."),
    )  # fmt: skip
    BUSY = "busy", 409, _("An answer is still being written here. Wait for it or stop it.")
    TOO_MANY_ANSWERS = (
        "too_many_answers", 429, _("Too many answers are written for you at once."),
    )  # fmt: skip
    TOO_MANY_STREAMS = "too_many_streams", 429, _("Too many answers are followed at once.")

    # The API's keys
    TOO_MANY_KEYS = "too_many_keys", 400, _("You have too many keys. Revoke one first.")

    # The site's own machine
    DATABASE_BUSY = "database_busy", 503, _("The database is busy just now. Try again in a moment.")
    DISK_FULL = (
        "disk_full", 503,
        _("The site's disk is nearly full: what is stored can be read, new questions must wait."),
    )  # fmt: skip

    # Any page
    NOT_FOUND = "not_found", 404, _("Not found.")
    SIGNED_OUT = "signed_out", 401, _("You are signed out.")
    BAD_FRAME = "bad_frame", 400, _("This frame was refused.")
    BAD_JSON = "bad_json", 400, _("The body isn't valid JSON.")
    BAD_FIELD = "bad_field", 400, _("A field holds a value that can't be used.")
    BODY_TOO_BIG = "too_big", 413, _("The body is too large.")
    NO_DEFAULT = "no_default", 400, _("This is the default. Make another one the default first.")
    INTERNAL = "internal", 500, _("That didn't work; nothing was lost. Try again.")


HANDED_ON = frozenset(
    {
        ErrorCode.ENGINE_FAILED,
        ErrorCode.ENGINE_STOPPED,
        ErrorCode.MODEL_FAILED,
        ErrorCode.WORKER_LOST,
    }
)
"""Codes of requests whose worker ended before they did: another worker can go on with them."""
