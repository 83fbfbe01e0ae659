"""Questions that are accepted, with a real Redis and no worker."""

from __future__ import annotations

from chatsite.accounts.models import User
from chatsite.chat import actions
from chatsite.chat.models import Message
from tests.support.frames import action_ids


def ask(user: User, text: str = "What is a river?") -> Message:
    """A question of this person's; its answer as it is stored."""
    return actions.send_message(user, **action_ids(), text=text).messages[-1]
