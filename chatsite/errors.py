"""The one error of the site: a code for clients, a sentence for people.

Also names what the machine does to the site: a database that is locked or away, a full disk.
"""

from __future__ import annotations

import errno

from django.db import InterfaceError, OperationalError
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


NO_ROOM = ("disk is full", "disk i/o error", "no space left", "readonly database", "unable to open")
"""How SQLite and PostgreSQL word it that nothing can be written."""


def of_machine_error(error: BaseException | None) -> ChatError | None:
    """The refusal for a database that is locked, full or away, and for a full disk.

    None for every other error: that is a fault of the program.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ChatError(ErrorCode.DISK_FULL)
        if isinstance(error, (OperationalError, InterfaceError)):
            has_no_room = any(words in str(error).lower() for words in NO_ROOM)
            return ChatError(ErrorCode.DISK_FULL if has_no_room else ErrorCode.DATABASE_BUSY)
        error = error.__cause__
    return None
