"""A conversation of Alice's, as the chat's tests have it."""

from tests.chatsite.chat.conftest import thread

__all__ = ["thread"]
