"""The one error of the site: a code for clients, a sentence for people."""

from __future__ import annotations


class ChatError(Exception):
    """Something a person can act on. `code` is stable; `field` names the input at fault."""

    def __init__(self, code: str, text: str, *, field: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.field = field
        self.status = status


class NotFound(ChatError):
    """The same answer for what doesn't exist and for what belongs to somebody else."""

    def __init__(self, text: str = "Not found.") -> None:
        super().__init__("not_found", text, status=404)
