"""The frames that ask for an answer, with the ids that a page makes."""

from __future__ import annotations

import json
import uuid
from typing import Any

IDS = {
    "send": ("question", "answer", "request"),
    "regenerate": ("answer", "request"),
    "continue": ("request",),
}


def new_ids(kind: str) -> dict[str, str]:
    """New ids for a frame of this kind; none for a frame that asks for nothing."""
    return {name: str(uuid.uuid4()) for name in IDS.get(kind, ())}


def asking(kind: str, **fields: Any) -> str:
    """A `send`, `regenerate` or `continue` frame."""
    return json.dumps({"type": kind, **new_ids(kind), **fields})


def action_ids() -> dict[str, uuid.UUID]:
    """New ids as `actions.send_message` takes them."""
    return {f"{name}_id": uuid.uuid4() for name in IDS["send"]}
