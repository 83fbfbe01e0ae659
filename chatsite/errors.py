"""The one error of the site: a code for clients, a sentence for people, a status for HTTP."""

from __future__ import annotations

from django.utils.translation import gettext as _

from inference.contract import ErrorCode


class ChatError(Exception):
    """Something a person can act on. `field` names the input at fault, "" for none.

    `text` is the code's own sentence in the page's language and `status` the code's own status,
    unless the caller knows better.
    """

    def __init__(
        self,
        code: ErrorCode,
        text: str | None = None,
        *,
        field: str = "",
        status: int | None = None,
    ) -> None:
        self.code = ErrorCode.parse(code) or ErrorCode.INTERNAL
        self.text = _(self.code.sentence) if text is None else text
        self.field = field
        self.status = self.code.status if status is None else status
        super().__init__(self.text)


class NotFound(ChatError):
    """The same answer for what doesn't exist and for what belongs to somebody else."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__(ErrorCode.NOT_FOUND, text)
