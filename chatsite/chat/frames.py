"""The socket's language: every frame a browser may send, and every frame it may get.

JSON objects tagged by `type`. msgspec decodes and validates in one go: an unknown type, a missing
or a wrong field is an error frame, never a traceback. VERSION rises when an old page can no longer
understand; the page then reloads itself.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from chatsite.generation.shown_figures import ShownFigures
from inference.contract import Phase as PhaseName

VERSION = 2
MAX_TEXT_CHARS = 200_000

Slug = Annotated[str, Meta(max_length=63)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Micros = Annotated[int, Meta(ge=0, le=10**13)]


# --- browser -> site -----------------------------------------------------------------------------


# The browser makes the ids of what is to come: the question's, the answer's and the request's. They
# are the ids in the database, so that a message is the same one before and after it is stored, and
# a frame that is sent twice is known by its request.


class Send(Struct, tag="send", forbid_unknown_fields=True):
    """Ask. `parent` is the message it follows (null: the first of a conversation); asking again
    behind the same parent makes a branch, which is how a question is edited."""

    question: UUID
    answer: UUID
    request: UUID
    text: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
    conversation: UUID | None = None
    parent: UUID | None = None
    model: Slug = ""
    preset: Slug = ""


class Regenerate(Struct, tag="regenerate", forbid_unknown_fields=True):
    """Another answer beside `message`, perhaps by another model or preset."""

    answer: UUID
    request: UUID
    message: UUID
    model: Slug = ""
    preset: Slug = ""


class Continue(Struct, tag="continue", forbid_unknown_fields=True):
    """Go on from the last token of an ended answer."""

    request: UUID
    message: UUID


class Stop(Struct, tag="stop", forbid_unknown_fields=True):
    message: UUID


class Watch(Struct, tag="watch", forbid_unknown_fields=True):
    """Follow a request's tokens; `position` is how many of the answer's tokens the page has."""

    request: UUID
    position: Count = 0


class Unwatch(Struct, tag="unwatch", forbid_unknown_fields=True):
    request: UUID


class Painted(Struct, tag="painted", forbid_unknown_fields=True):
    """The browser's own stamps, µs from its `sent`."""

    request: UUID
    first_paint_us: Micros
    last_paint_us: Micros


class Ping(Struct, tag="ping", forbid_unknown_fields=True):
    pass


Incoming = Send | Regenerate | Continue | Stop | Watch | Unwatch | Painted | Ping
decoder = msgspec.json.Decoder(Incoming)


# --- site -> browser -----------------------------------------------------------------------------


class ConversationView(Struct):
    """A row of the sidebar. Times are ISO 8601, UTC."""

    id: UUID
    title: str
    updated_at: str
    created_at: str
    model: str
    preset: str
    active_leaf: UUID | None
    is_writing: bool = False


class MessageView(Struct):
    """A message as a page shows it. `figures` are docs/measures.md's in ms, null while unknown."""

    id: UUID
    parent: UUID | None
    role: str  # "user" | "assistant"
    text: str
    state: str  # "pending" | "queued" | "running" | "done"
    finish_reason: str  # "" | "stop" | "length" | "cancelled" | "failed" | "interrupted"
    error_code: str
    error_text: str
    request: UUID | None
    position: int  # tokens that `text` says
    model: str
    preset: str
    created_at: str
    trimmed_messages: int
    figures: ShownFigures | None


class Welcome(Struct, tag="welcome"):
    """First frame of every socket."""

    version: int
    user: str
    served: list[str] | None = None
    is_disk_low: bool = False


class Serving(Struct, tag="serving"):
    """Whether questions are taken just now: said in `welcome`, and when it changes.

    `served` are the models that a worker holds or loads; null: nobody knows, Redis is away. While
    the disk is low no question is taken.
    """

    served: list[str] | None
    is_disk_low: bool = False


class Accepted(Struct, tag="accepted"):
    """Stored, by the tab that asked or by another one. Every tab gets it once."""

    request: UUID
    conversation: ConversationView
    messages: list[MessageView]


class Phase(Struct, tag="phase"):
    """What happens before the first token: pending (the queue is away), queued (`place` in line,
    1 is next), loading and prefill (`done` of `total`), recovering (the worker was lost)."""

    request: UUID
    phase: PhaseName
    place: int = 0
    done: int = 0
    total: int = 0


class Delta(Struct, tag="delta"):
    """`count` tokens from `position` on; `text` goes to code point `offset`, over what follows."""

    request: UUID
    position: int
    count: int
    text: str
    offset: int


class Ended(Struct, tag="ended"):
    """The answer is over; `message` is what the database says. Sent once for each `watch`."""

    request: UUID
    message: MessageView


class Changed(Struct, tag="changed"):
    """A conversation was renamed, retitled, moved on or deleted, here or in another tab."""

    conversation: UUID
    deleted: bool = False
    view: ConversationView | None = None


class Refused(Struct, tag="error"):
    """A frame could not be done. `request` is the one that it named, if any."""

    code: str
    text: str
    field: str = ""
    request: UUID | None = None


class Pong(Struct, tag="pong"):
    pass


Outgoing = Welcome | Serving | Accepted | Phase | Delta | Ended | Changed | Refused | Pong


def encode(frame: Outgoing) -> str:
    return msgspec.json.encode(frame).decode()
