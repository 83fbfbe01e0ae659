"""The one error of the site: a code for clients, a sentence for people."""

from __future__ import annotations

from django.utils.translation import gettext as _

from inference.contract import ErrorCode


class ChatError(Exception):
    """Something a person can act on. `field` names the input at fault.

    Text and status are the code's own unless given; the code's sentence is translated here.
    """

    def __init__(
        self,
        code: ErrorCode,
        text: str | None = None,
        *,
        field: str = "",
        status: int | None = None,
    ) -> None:
        self.code = code
        self.text = _(code.sentence) if text is None else text
        self.field = field
        self.status = code.status if status is None else status
        super().__init__(self.text)


class NotFound(ChatError):
    """The same answer for what doesn't exist and for what belongs to somebody else."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__(ErrorCode.NOT_FOUND, text)
